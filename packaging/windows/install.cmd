@echo off
rem Installs the agent as a service, or upgrades it:
rem install.cmd [/pair URL /fleettoken FILE] [/config FILE] [/token FILE] [/nostart]
rem   /pair URL           pair with this coordinator, unless it is paired already; needs /fleettoken
rem   /fleettoken FILE    holds what "encoder-coordinator pairing fleet-token create" has printed
rem   /config FILE        settings to put in place; without it those that are there stay
rem   /token FILE         the agent's token to put in place, for settings with token_file = "token"
rem   /nostart            leave the service stopped
rem Asks nothing, for group policies and management tools. Needs administrator rights. Ends with 0 only if all was done.
setlocal
set "from=%~dp0"
set "program=%ProgramFiles%\encoder-agent"
set "data=%ProgramData%\encoder-agent"
set "pair="
set "fleettoken="
set "config="
set "token="
set "start=yes"

:arguments
if "%~1"=="" goto check
if /i "%~1"=="/pair" goto pair
if /i "%~1"=="/fleettoken" goto fleettoken
if /i "%~1"=="/config" goto config
if /i "%~1"=="/token" goto token
if /i "%~1"=="/nostart" goto nostart
echo usage: install.cmd [/pair URL /fleettoken FILE] [/config FILE] [/token FILE] [/nostart]
exit /b 2
:pair
set "pair=%~2"
shift
shift
goto arguments
:fleettoken
set "fleettoken=%~f2"
shift
shift
goto arguments
:config
set "config=%~f2"
shift
shift
goto arguments
:token
set "token=%~f2"
shift
shift
goto arguments
:nostart
set "start=no"
shift
goto arguments

:check
rem A program that was damaged or changed on its way is not installed.
set /p wanted=<"%from%encoder-agent.exe.sha256"
certutil -hashfile "%from%encoder-agent.exe" SHA256 >"%TEMP%\encoder-agent.sum" 2>nul
if errorlevel 1 goto unchecked
for %%s in ("%TEMP%\encoder-agent.sum") do if %%~zs==0 goto unchecked
findstr /i /c:"%wanted%" "%TEMP%\encoder-agent.sum" >nul
if errorlevel 1 goto changed
del "%TEMP%\encoder-agent.sum"
goto copy
:changed
echo encoder-agent.exe is not the program that this archive was made with: fetch it again
exit /b 1
:unchecked
echo certutil cannot tell the checksum of encoder-agent.exe: not checked

:copy
rem A running service holds its program.
if exist "%program%\encoder-agent.exe" "%program%\encoder-agent.exe" service stop >nul 2>&1
if not exist "%program%" mkdir "%program%"
copy /y "%from%encoder-agent.exe" "%program%\encoder-agent.exe" >nul
if errorlevel 1 goto failed
copy /y "%from%README.md" "%program%\README.md" >nul
copy /y "%from%agent.toml" "%program%\agent.toml.sample" >nul
rem What came from the internet is marked so, and asked about each time it is started.
powershell -NoProfile -NonInteractive -Command "Unblock-File -LiteralPath '%program%\encoder-agent.exe'" >nul 2>&1

"%program%\encoder-agent.exe" service install
if errorlevel 1 goto failed
rem Only now: the folder lets nobody in but administrators and the service.
if not "%config%"=="" copy /y "%config%" "%data%\agent.toml" >nul
if errorlevel 1 goto failed
if not "%token%"=="" copy /y "%token%" "%data%\token" >nul
if errorlevel 1 goto failed
if "%pair%"=="" goto paired
if exist "%data%\state\pairing.json" goto paired
"%program%\encoder-agent.exe" pair "%pair%" --fleet-token-file "%fleettoken%"
if errorlevel 1 goto failed
:paired
if exist "%data%\agent.toml" goto start
if not exist "%data%\state\pairing.json" goto unpaired
:start
if "%start%"=="no" exit /b 0
"%program%\encoder-agent.exe" check
if errorlevel 2 goto failed
"%program%\encoder-agent.exe" service start
if errorlevel 1 goto failed
exit /b 0

:unpaired
echo now pair it: "%program%\encoder-agent.exe" pair URL
echo and start it: "%program%\encoder-agent.exe" service start
exit /b 0

:failed
echo not installed: the messages above say why
exit /b 1
