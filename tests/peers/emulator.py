"""An emulated encoder, started as the program that users start."""

import socket
import subprocess


class Emulator:
    """Runs `encoder-agent emulate` with the given arguments until the end of the `with` block."""

    def __init__(self, built, work, *arguments, device="pn532"):
        self.port = str(work / "tty")
        self.control = str(work / "control")
        self.command = [built / "encoder-agent", "emulate", device, "--link", self.port, "--control", self.control]
        self.command += arguments

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        if not ready.startswith(f"ok {self.port} "):
            raise AssertionError(f"the emulator did not start: {ready!r}, exit code {self.process.wait()}")
        caller = socket.socket(socket.AF_UNIX)
        caller.connect(self.control)
        self.lines = caller.makefile("rw")
        return self

    def __exit__(self, *_):
        self.lines.close()
        self.process.terminate()
        code = self.process.wait(timeout=10)
        self.process.stdout.close()
        if code != 0:
            raise AssertionError(f"the emulator ended with {code}")

    def say(self, command):
        """Gives a command and answers what follows `ok`."""
        self.lines.write(command + "\n")
        self.lines.flush()
        word, _, answer = self.lines.readline().strip().partition(" ")
        if word != "ok":
            raise AssertionError(f"{command}: {answer}")
        return answer

    def memory(self):
        """The memory of the card that lies there."""
        return bytes.fromhex(self.say("memory"))
