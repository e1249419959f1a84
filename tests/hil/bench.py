"""A desk PC in the virtual machine, with our agent installed as its package would, and the coordinator that it reports to."""

import base64
import contextlib
import io
import pathlib
import sys
import tarfile
import tempfile

from desk import Desk, Emulator
from devices import Adapter, HidGadget, SerialGadget
from machine import Machine, until

SYSTEMD = pathlib.Path(__file__).parents[2] / "systemd"
# The programs that play gadgets in the guest.
GADGETS = pathlib.Path(__file__).parent / "gadgets"
# Where a package puts what stands in systemd/.
PLACES = {".service": "usr/lib/systemd/system", ".rules": "usr/lib/udev/rules.d"}
WANTS = "etc/systemd/system/multi-user.target.wants/encoder-agent.service"
INSTALL = """set -e
tar -xf /dev/vdb -C /
udevadm control --reload
systemctl daemon-reload
systemctl start encoder-agent.service"""
# As dpkg replaces a program that runs.
REPLACE = """set -e
cp /usr/bin/encoder-agent /usr/bin/encoder-agent.dpkg-new
mv /usr/bin/encoder-agent.dpkg-new /usr/bin/encoder-agent
readlink /proc/$(systemctl show --property=MainPID --value encoder-agent)/exe
systemctl restart encoder-agent
readlink /proc/$(systemctl show --property=MainPID --value encoder-agent)/exe"""
# What the agent keeps.
STATE = "var/lib/private var/lib/encoder-agent"
# The ids of an MSR605X, and of nothing that any driver knows.
MSR605X = "0801:0003"
UNKNOWN = "1209:0e0c"


class Bench:
    """What cases run with: the built programs and the machine's image."""

    def __init__(self, programs, image, say):
        self.programs, self.image, self.say = programs, image, say

    def desk_pc(self, settings="", boots=False):
        """A desk PC whose agent has only been told the coordinator's address, its token and these settings."""
        return DeskPc(self, settings, boots)


class DeskPc(contextlib.ExitStack):
    """Machine, agent and coordinator, from `with` on."""

    def __init__(self, bench, settings, boots):
        super().__init__()
        self.bench, self.programs = bench, bench.programs
        self.settings, self.boots = settings, boots
        self.machine = None

    def __enter__(self):
        super().__enter__()
        try:
            self.work = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory(prefix="hil-")))
            self.desk = self.enter_context(Desk(self.programs, self.work))
            parcel = self.work / "parcel"
            pack(parcel, self.programs, self.configuration())
            self.machine = self.enter_context(Machine(self.bench.image, self.work, parcel, self.boots))
            if not self.boots:
                self.machine.run(INSTALL)
            self.until_active()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, error, trace):
        if error is not None and not isinstance(error, KeyboardInterrupt):
            self.bench.say(self.logs())
        return super().__exit__(kind, error, trace)

    def configuration(self):
        return f'[coordinator]\nurl = "{self.desk.url}"\ntoken = "{self.desk.token}"\ninsecure = true\n{self.settings}'

    def until_active(self):
        until("the agent's unit to be active", lambda: self.machine.succeeds("systemctl is-active --quiet encoder-agent"), pause=0.1)

    def reconfigure(self, settings):
        """Writes other settings and starts the agent again."""
        self.settings = settings
        self.machine.run(f"cat > /etc/encoder-agent/agent.toml <<'END'\n{self.configuration()}\nEND\nsystemctl restart encoder-agent")

    def replace_agent(self):
        """Puts another copy of the agent's program in place of the one that runs, and starts it."""
        programs = self.machine.run(REPLACE).splitlines()
        if programs != ["/usr/bin/encoder-agent (deleted)", "/usr/bin/encoder-agent"]:
            raise AssertionError(f"the agent's program was not replaced: {programs}")

    def reboot(self, plugged_in):
        """Shuts the machine down and boots it, with what the agent's disk held and with what `plugged_in(machine)` plugs in."""
        kept = base64.b64decode(self.machine.run(f"systemctl stop encoder-agent && tar -C / -c {STATE} | base64"))
        self.machine.__exit__()
        again = self.work / "again"
        again.mkdir()
        pack(again / "parcel", self.programs, self.configuration(), kept)
        self.machine = self.enter_context(Machine(self.bench.image, again, again / "parcel", True, plugged_in))
        self.until_active()

    # -- what is plugged in

    def emulator(self, device="pn532", *arguments):
        return self.enter_context(Emulator(self.programs, self.work, device, *arguments))

    def adapter(self, name, terminal, serial=""):
        return Adapter(self.machine, name, terminal, serial)

    def serial_gadget(self, terminal, serial=""):
        return SerialGadget(self.machine, "acm", terminal, UNKNOWN, "Card reader", serial)

    def hid_gadget(self, terminal, serial="", name="msr", product="MSR605X", usb_id=MSR605X, **options):
        return HidGadget(self.machine, name, terminal, usb_id, product, serial, **options)

    # -- what is told

    def journal(self):
        """What the agent has logged."""
        return self.machine.run("journalctl --no-pager --output=short-monotonic --unit=encoder-agent")

    def until_logged(self, text, times=1):
        try:
            until(f"the agent to log {text!r}", lambda: self.journal().count(text) >= times, pause=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}; it logged:\n{self.journal()}") from None

    def logs(self):
        """What a failure is understood by."""
        parts = []
        if self.machine is not None:
            commands = ["journalctl --no-pager --output=short-monotonic --unit=encoder-agent", "systemctl status --no-pager --lines=0 encoder-agent",
                        "journalctl --no-pager --output=short-monotonic --unit='play-*'", "dmesg | tail -n 40", "ls -l /dev/ttyUSB* /dev/ttyACM* /dev/hidraw*; cat /proc/devices"]
            for command in commands:
                try:
                    parts.append(f"-- in the machine: {command}\n{self.machine.shell.ask(command, 20)[1]}")
                except (OSError, AssertionError) as error:
                    parts.append(f"-- in the machine: {command}: {error}")
        if hasattr(self, "desk"):
            parts.append(f"-- the coordinator's log\n{self.desk.log.read_text()}")
        return "\n".join(parts)


def pack(path, programs, configuration, kept=None):
    """Packs what a package brings, the settings, and what was kept, a tar file, as they lie in the guest's file system."""
    with tarfile.open(path, "w") as parcel:
        def add(name, data, mode):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            parcel.addfile(entry, io.BytesIO(data))

        add("usr/bin/encoder-agent", (programs / "encoder-agent").read_bytes(), 0o755)
        for part in sorted(SYSTEMD.iterdir()):
            if part.suffix in PLACES and "coordinator" not in part.name:
                add(f"{PLACES[part.suffix]}/{part.name}", part.read_bytes(), 0o644)
        for program in GADGETS.iterdir():
            add(f"usr/local/bin/{program.name}", program.read_bytes(), 0o755)
        # A user would let only the agent's own user read it; that user exists while the agent runs.
        add("etc/encoder-agent/agent.toml", configuration.encode(), 0o644)
        link = tarfile.TarInfo(WANTS)
        link.type, link.linkname = tarfile.SYMTYPE, "/usr/lib/systemd/system/encoder-agent.service"
        parcel.addfile(link)
        if kept is not None:
            with tarfile.open(fileobj=io.BytesIO(kept)) as state:
                for entry in state:
                    parcel.addfile(entry, state.extractfile(entry) if entry.isfile() else None)
