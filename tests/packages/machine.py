"""A Debian of this machine's release under its own systemd, in a container without network. What is done in it is lost afterwards."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time

# What makes a small Debian with systemd as its first process.
PACKAGES = ["init-system-helpers", "kmod", "passwd", "systemd-sysv", "udev"]
PATIENCE = 60
OPEN_JOBS = "SELECT count(*) FROM jobs WHERE finished IS NULL"
# Posts standard input to a URL, within the container's network; this machine's Python plays the client.
CLIENT = """
import sys, urllib.error, urllib.request
url, key = sys.argv[1:]
headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
try:
    with urllib.request.urlopen(urllib.request.Request(url, sys.stdin.buffer.read() or None, headers), timeout=10) as answer:
        sys.stdout.write(answer.read().decode())
except urllib.error.HTTPError as error:
    sys.exit(f"{error.code} {error.read().decode()}")
except OSError as error:
    sys.exit(str(error))
"""


def until(what, condition, patience=PATIENCE):
    """Waits until a condition holds, and answers what it answered."""
    deadline = time.monotonic() + patience
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {patience} s for {what}"
        time.sleep(0.1)
    return answer


def run(*command, **options):
    """Runs a command and answers what it prints; what went wrong is raised."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def debian(cache):
    """A Debian file system, made if the cache has none."""
    codename = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.MULTILINE)[1]
    root = cache / f"debian-{codename}-{'-'.join(PACKAGES)}"
    if not root.exists():
        making = cache / f"making-{os.getpid()}"
        try:
            run("mmdebstrap", "--quiet", "--mode=root", "--variant=essential", f"--include={','.join(PACKAGES)}", codename, making)
            making.rename(root)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return root


class Machine:
    """The container, from `with` on; boots when it is told to."""

    def __init__(self, lower, work):
        self.lower, self.work, self.root = lower, work, work / "root"
        self.process = self.leader = None
        self.log = work / "console.log"

    def __enter__(self):
        for part in ("root", "upper", "overlay"):
            (self.work / part).mkdir()
        run("mount", "-t", "overlay", "overlay", "-o",
            f"lowerdir={self.lower},upperdir={self.work}/upper,workdir={self.work}/overlay", self.root)
        # The folder that this machine and the container share.
        self.shared = self.root / "srv/bench"
        self.shared.mkdir()
        return self

    def __exit__(self, *_):
        try:
            if self.process is not None:
                self.process.terminate()
                try:
                    self.process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
        finally:
            run("umount", self.root)

    def boot(self):
        command = ["systemd-nspawn", "--quiet", "--register=no", "--private-network", "--machine=desk", "--link-journal=no",
                   f"--directory={self.root}", "--boot"]
        if not pathlib.Path("/run/systemd/system").exists():
            command.append("--keep-unit")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=open(self.log, "a"), stderr=subprocess.STDOUT)
        self.leader = until("the container's first process", self._first_process)
        until("the container to be up", lambda: self.does("test -S /run/systemd/private"))
        state = self.does("systemctl is-system-running --wait", PATIENCE)
        assert state, f"the container has not come up whole:\n{self.run('systemctl list-units --failed --no-pager --all')}"

    def _first_process(self):
        assert self.process.poll() is None, f"systemd-nspawn has ended:\n{self.log.read_text()}"
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return children and children[0]

    def power_off(self):
        """Shuts down in order; everything on the disk stays."""
        self.does("systemctl poweroff --no-block")
        self.process.wait(PATIENCE)
        self.process = self.leader = None

    def _inside(self, *namespaces):
        return ["nsenter", "--target", self.leader, *namespaces]

    def command(self, script):
        return [*self._inside("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"), "sh", "-c", script]

    def run(self, script, patience=PATIENCE):
        """Runs a shell's script as root and answers what it prints."""
        return run(*self.command(script), timeout=patience, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"})

    def does(self, script, patience=PATIENCE):
        """Whether a script ends well."""
        done = subprocess.run(self.command(script), capture_output=True, timeout=patience,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        return done.returncode == 0

    def property(self, unit, name):
        return self.run(f"systemctl show --value --property={name} {unit}").strip()

    def ask(self, url, key="", **parameters):
        """Posts to an HTTP server of the container, or gets where there is nothing to post."""
        body = json.dumps(parameters) if parameters else ""
        return json.loads(run(*self._inside("--net"), "python3", "-c", CLIENT, url, key, input=body))

    def programs(self):
        """The names of the programs that run."""
        return {line.removesuffix(" (deleted)").rpartition("/")[2] for line in self.run("readlink /proc/[0-9]*/exe || true").splitlines()}

    def open_jobs(self):
        """How many jobs the agent's journal holds that have not ended; read from a copy."""
        with tempfile.TemporaryDirectory() as copy:
            for file in (self.root / "var/lib/private/encoder-agent").glob("journal.sqlite*"):
                shutil.copy(file, copy)
            with contextlib.closing(sqlite3.connect(f"{copy}/journal.sqlite")) as journal:
                return journal.execute(OPEN_JOBS).fetchone()[0]

    def files(self):
        """Every path that could have been left behind."""
        passing = ["/dev", "/proc", "/run", "/srv/bench", "/sys", "/tmp", "/var/cache", "/var/lib/dpkg", "/var/log", "/var/tmp"]
        pruned = " -o ".join(f"-path {path}" for path in passing)
        found = set(self.run(f"find / \\( {pruned} \\) -prune -o -print").splitlines())
        # Account files are kept once more whenever they change; timers and seeds are systemd's own.
        own = re.compile(r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-|/etc/\.pwd\.lock|/var/lib/private|/var/lib/systemd/(?!deb-).*")
        return {path for path in found if not own.fullmatch(path)}
