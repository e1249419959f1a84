"""A Windows PC of its own: a fresh wine prefix, where processes run and services start, and that can be rebooted."""

import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).parent
DEBIAN = pathlib.Path("/usr/lib/wine/wine64")
PATIENCE = 180


class Wine:
    """The PC, from `with` on."""

    def __init__(self, folder):
        self.folder = folder
        self.prefix = folder / "prefix"
        # Debian's wrapper would advise to install what 32-bit programs need.
        self.wine = str(DEBIAN) if DEBIAN.exists() else "wine"
        # What differs from this machine's environment.
        self.own = {"WINEPREFIX": str(self.prefix), "WINEARCH": "win64", "WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree=;mshtml=",
                    "XDG_RUNTIME_DIR": str(folder)}
        self.environment = {name: value for name, value in os.environ.items() if name != "RUST_LOG"} | self.own
        self.user = None

    def __enter__(self):
        # It ends with an error where there is no display, and has done all the same.
        self.run("wineboot", "-i", check=False)
        self.server("-w")
        library = self.path(r"C:\windows\system32\bcryptprimitives.dll")
        if not library.exists():
            subprocess.run(["x86_64-w64-mingw32-gcc", "-O2", "-s", "-shared", "-o", library, HERE / "bcryptprimitives.c", "-ladvapi32"],
                           check=True)
        self.log_on()
        return self

    def __exit__(self, *_):
        self.log_off()
        self.server("-k")
        self.server("-w")
        shutil.rmtree(self.prefix, ignore_errors=True)

    def path(self, name):
        """Where this machine has a file of drive C."""
        return self.prefix / "drive_c" / name.removeprefix("C:\\").replace("\\", "/")

    def command(self, *words):
        return [self.wine, *map(str, words)]

    def run(self, *words, check=True, patience=PATIENCE):
        """Runs a program, and answers how it ended and what it printed."""
        with open(self.folder / "printed", "w+b") as printed:
            # A service that is started inherits what its starter has open: a pipe would not end before it.
            done = subprocess.run(self.command(*words), env=self.environment, stdin=subprocess.DEVNULL, stdout=printed,
                                  stderr=subprocess.STDOUT, timeout=patience)
            printed.seek(0)
            text = printed.read().decode(errors="replace").replace("\r", "").strip()
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, words))} ended with {done.returncode}: {text}")
        return done.returncode, text

    def server(self, flag):
        subprocess.run(["wineserver", flag], env=self.environment, timeout=PATIENCE, check=False)

    def log_on(self):
        """Someone who works at the PC: without a program that stays, the services end with the last one."""
        self.user = subprocess.Popen(self.command("cmd.exe", "/k"), env=self.environment, stdin=subprocess.PIPE,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def log_off(self):
        if self.user is not None:
            self.user.stdin.close()
            try:
                self.user.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.user.kill()
                self.user.wait()
            self.user = None

    def reboot(self):
        """Power off without a warning, and on again."""
        self.server("-k")
        self.server("-w")
        self.user.wait(PATIENCE)
        self.log_on()

    def attach(self, name, device):
        """A serial port, from the next start on."""
        self.run("reg", "add", r"HKLM\Software\Wine\Ports", "/v", name, "/d", device, "/f")
        self.reboot()
