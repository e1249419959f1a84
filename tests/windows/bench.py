"""A front desk whose PC runs Windows: the coordinator and an emulated PN532 on this machine, the agent's service under wine."""

import contextlib
import json
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(1, str(pathlib.Path(__file__).parent.parent / "sdk"))

from desk import Emulator, free_port, stop, wait_for  # noqa: E402

PORT = "COM7"
PROGRAM = r"C:\Program Files\encoder-agent\encoder-agent.exe"
DATA = r"C:\ProgramData\encoder-agent"


class Bench:
    """Everything that the cases share."""

    def __init__(self, folder, windows, profile, dist, programs):
        self.folder, self.windows, self.profile, self.dist, self.programs = folder, windows, profile, dist, programs
        self.wine = self.archive = self.coordinator = self.emulator = self.seed = self.encoder = None

    def power_up(self):
        """The coordinator, and the encoder behind the PC's serial port."""
        self.port = free_port()
        self.coordinator = subprocess.Popen(
            [self.programs / "encoder-coordinator", "serve", "--listen", f"127.0.0.1:{self.port}", "--database",
             f"sqlite:{self.folder}/coordinator.sqlite", "--seed-demo"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=open(self.folder / "coordinator.log", "w"), text=True)
        self.seed = json.loads(self.coordinator.stdout.readline())
        self.emulator = Emulator(self.programs, self.folder, "classic-1k")
        self.emulator.tell("remove")
        self.wine.attach(PORT, self.emulator.link.resolve())

    def power_down(self):
        if self.emulator is not None:
            self.emulator.stop()
        stop(self.coordinator)

    def agent(self, *words, check=True):
        """Runs a command of the installed agent."""
        return self.wine.run(PROGRAM, *words, check=check)

    def settings(self, coordinator=True):
        """The service's; without the coordinator where it is paired with that."""
        told = f"[coordinator]\nurl = 'ws://127.0.0.1:{self.port}'\ntoken_file = 'token'\n" if coordinator else ""
        return (f"state_dir = 'state'\n{told}[[encoder]]\nname = 'Front Desk'\ndriver = 'pn532'\nport = '{PORT}'\nsimulated = true\n")

    def log(self):
        """What the service has logged."""
        file = self.wine.path(DATA + r"\logs\agent.log")
        return file.read_text(errors="replace") if file.exists() else ""

    def ask(self, path, **parameters):
        request = urllib.request.Request(
            self.seed["endpoint"] + path, json.dumps(parameters).encode(),
            {"authorization": f"Bearer {self.seed['api_key']}", "content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from error

    def operate(self, *words):
        """What a command of the coordinator prints."""
        made = subprocess.run(
            [self.programs / "encoder-coordinator", *words, "--json", "--database", f"sqlite:{self.folder}/coordinator.sqlite"],
            stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(made.stdout)

    def sessions(self):
        """How often the agent has connected so far."""
        return self.log().count("connected; session")

    def online(self, before):
        """Waits for one more session than there were before, and for the encoder; its id."""
        wait_for("the agent to connect", lambda: self.sessions() > before, 60)

        def present():
            found = self.operate("encoder", "list")
            return found and found[0]["state"] == "present" and found[0]["acs_encoder_id"]

        return wait_for("the encoder to be there", present, 60)

    def begin_encode(self):
        user = self.ask("/acs/users/create", acs_system_id=self.seed["acs_system_id"], full_name="Jane Doe")
        made = self.ask("/acs/credentials/create", acs_user_id=user["acs_user"]["acs_user_id"], access_method="card",
                        allowed_acs_entrance_ids=self.seed["acs_entrance_ids"], starts_at="2026-12-01T15:00:00.000Z",
                        ends_at="2046-12-04T12:00:00.000Z")
        return self.ask("/acs/encoders/encode_credential", acs_encoder_id=self.encoder,
                        acs_credential_id=made["acs_credential"]["acs_credential_id"])["action_attempt"]["action_attempt_id"]

    def begin_scan(self):
        return self.ask("/acs/encoders/scan_credential", acs_encoder_id=self.encoder)["action_attempt"]["action_attempt_id"]

    def attempt(self, attempt):
        return self.ask("/action_attempts/get", action_attempt_id=attempt)["action_attempt"]

    def open_jobs(self):
        """How many jobs of the agent's journal have no outcome yet; looked up in a copy, for the agent writes to it."""
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for part in ("", "-wal"):
            journal = self.wine.path(rf"{DATA}\state\journal.sqlite{part}")
            if journal.exists():
                shutil.copy(journal, copy)
        with contextlib.closing(sqlite3.connect(copy / "journal.sqlite")) as journal:
            return journal.execute("SELECT count(*) FROM jobs WHERE finished IS NULL").fetchone()[0]

    def ended(self, attempt):
        """How an attempt has ended, once it has."""
        return wait_for("the attempt to end", lambda: (now := self.attempt(attempt))["status"] != "pending" and now, 60)

    def stat(self, name):
        """A number of the emulator's."""
        words = self.emulator.tell("stats").split()
        return int(words[words.index(name) + 1])
