@echo off
rem Stops and removes the service and its program: uninstall.cmd [/purge]
rem   /purge   remove settings, token, state, journal and logs too
rem Asks nothing. Needs administrator rights. Ends with 0 only if all was done.
setlocal
set "program=%ProgramFiles%\encoder-agent"
set "purge="
if /i "%~1"=="/purge" set "purge=--purge"
if not exist "%program%\encoder-agent.exe" exit /b 0
"%program%\encoder-agent.exe" service uninstall %purge%
if errorlevel 1 exit /b 1
rmdir /s /q "%program%"
if exist "%program%" exit /b 1
exit /b 0
