"""The running virtual machine: QEMU, its monitor, and a root shell in the guest."""

import json
import re
import shlex
import socket
import subprocess
import threading
import time

from image import COMMAND_LINE, HARDWARE, PARCEL_SIZE

# How long anything in the emulated machine may take before something is wrong.
PATIENCE = 300
# How long it may take to boot: the slowest thing that it does.
BOOT_PATIENCE = 900


def stop(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until(what, condition, seconds=PATIENCE, pause=0.1):
    """Waits until `condition()` is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(pause)


class Machine:
    """A machine, from `with` on. It goes on from the image's memory, or boots when `boots`: then with the parcel, a tar
    file, unpacked, and with what `plugged_in(machine)` plugs in."""

    def __init__(self, image, work, parcel, boots=False, plugged_in=lambda _machine: None):
        self.image, self.work, self.parcel, self.boots, self.plugged_in = image, work, parcel, boots, plugged_in

    def __enter__(self):
        with open(self.parcel, "ab") as parcel:
            parcel.truncate(PARCEL_SIZE)
        monitor, shell = self.work / "monitor", self.work / "shell"
        qemu, environment = self.image.qemu()
        command = [
            *qemu, *HARDWARE, "-kernel", self.image.kernel, "-initrd", self.image.initrd,
            "-append", COMMAND_LINE + (" hil.unpack" if self.boots else ""),
            "-drive", f"file={self.image.disk},format=raw,if=virtio,readonly=on",
            "-drive", f"file={self.parcel},format=raw,if=virtio,readonly=on",
            "-serial", f"file:{self.work}/console",
            "-chardev", f"socket,id=shell,path={shell},server=on,wait=off", "-device", "virtserialport,chardev=shell,name=shell",
            "-qmp", f"unix:{monitor},server=on,wait=off",
        ]
        if not self.boots:
            command += ["-incoming", "defer"]
        self.output = open(self.work / "qemu.log", "w")
        self.process = subprocess.Popen([str(word) for word in command], env=environment, stdin=subprocess.DEVNULL,
                                        stdout=self.output, stderr=self.output)
        try:
            until("QEMU to start", lambda: self.alive() and monitor.exists() and shell.exists())
            self.monitor = Monitor(monitor)
            self.shell = Shell(shell)
            if self.boots:
                self.plugged_in(self)
            else:
                # Only now: to a guest whose shell has lost its other end, the end of its input would come first.
                self.monitor.ask("migrate-incoming", uri=f"exec:cat {self.image.memory}")
            until("the machine to run", lambda: self.monitor.ask("query-status")["status"] == "running")
            if self.boots:
                self.shell.greeted()
            # The memory that it goes on from has the time of its making.
            self.run(f"date --set=@{time.time():.3f}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        stop(self.process)
        self.output.close()

    def alive(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"QEMU ended with {self.process.returncode}: {(self.work / 'qemu.log').read_text()}")
        return True

    def run(self, command, seconds=PATIENCE):
        """What a command in the guest prints; it must succeed."""
        code, output = self.shell.ask(command, seconds)
        if code != 0:
            raise AssertionError(f"in the machine, `{command}` ended with {code}: {output}")
        return output

    def succeeds(self, command):
        return self.shell.ask(command, PATIENCE)[0] == 0

    def wait_for(self, path, there=True):
        """Waits until the guest has a device node, with everything that its rules do to it, or has it no more."""
        gone = "" if there else " --removed"
        self.run(f"udevadm wait --timeout={PATIENCE}{gone} {shlex.quote(path)}")

    def watch_modem_lines(self):
        """Notes from now on what adapters are told to do with their modem lines."""
        self.monitor.ask("trace-event-set-state", name="usb_serial_handle_control", enable=True)

    def modem_lines(self):
        """What all adapters were told to do with DTR and RTS, one after the other: the values of the chip's request for it."""
        return re.findall(r"got control 0x4001, value (0x\w+)", (self.work / "qemu.log").read_text())

    def save(self):
        """Saves the machine's memory beside the image. The machine is worth nothing afterwards."""
        self.monitor.ask("migrate", uri=f"exec:cat > {self.image.memory}")
        until("the memory to be saved", lambda: self.monitor.ask("query-migrate")["status"] == "completed")


class Monitor:
    """QEMU's machine protocol."""

    def __init__(self, path):
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(str(path))
        self.answers = self.line.makefile("r")
        self.lock = threading.Lock()
        self.answers.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        request = {"execute": command, "arguments": {name.replace("_", "-"): value for name, value in arguments.items()}}
        with self.lock:
            self.line.sendall(json.dumps(request).encode() + b"\n")
            while True:
                answer = json.loads(self.answers.readline())
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise RuntimeError(f"{command} {arguments}: {answer['error']['desc']}")


class Shell:
    """The guest's shell: one command after the other."""

    def __init__(self, path):
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(str(path))
        self.lock = threading.Lock()
        self.asked = 0

    def greeted(self):
        """Waits until the shell of a machine that boots says that it listens."""
        self.line.settimeout(BOOT_PATIENCE)
        heard = b""
        while b"hil0" not in heard:
            heard += self.line.recv(4096)

    def ask(self, command, seconds):
        """The exit code of a command, and what it printed."""
        with self.lock:
            self.asked += 1
            mark = f"hil{self.asked}"
            # The mark is put together in the guest, so that an echo of the line is not taken for the answer.
            line = f"bash -c {shlex.quote(command)} </dev/null 2>&1; echo hil''{self.asked} $?\n"
            self.line.settimeout(seconds)
            self.line.sendall(line.encode())
            heard = b""
            while not (end := re.search(rf"{mark} (\d+)\r?\n".encode(), heard)):
                heard += self.line.recv(65536)
            output = heard[:end.start()].decode(errors="replace").replace("\r", "")
            return int(end[1]), output.strip()
