"""The host's side: the coordinator, set up as a user does it by its commands, and emulated encoders."""

import json
import os
import pathlib
import socket
import subprocess
import urllib.error
import urllib.request

from machine import stop, until

# This machine, as the guest sees it.
HOST = "10.0.2.2"
STARTS_AT = "2026-12-01T15:00:00.000Z"
ENDS_AT = "2046-12-04T12:00:00.000Z"
# How long a job may take in the emulated machine.
JOB_PATIENCE = 150


class Desk:
    """A coordinator with one of everything, from `with` on."""

    def __init__(self, programs, work):
        self.program = programs / "encoder-coordinator"
        self.database = f"sqlite:{work}/coordinator.sqlite"
        self.log = work / "coordinator.log"

    def __enter__(self):
        self.make("workspace", "create", "--name", "Grand Hotel")
        self.make("system", "create", "--name", "Main building")
        self.entrance = self.make("entrance", "create", "--name", "Room 101")["acs_entrance_id"]
        self.key = self.make("key", "create", "--label", "property system")["api_key"]
        agent = self.make("agent", "create", "--name", "front desk PC")
        self.token, self.system = agent["agent_token"], agent["acs_system_id"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        # The heartbeat is as long as may be: a guest that is suspended answers none.
        self.process = subprocess.Popen(
            [self.program, "serve", "--listen", f"127.0.0.1:{self.port}", "--allow-host", HOST, "--database", self.database],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.log, "w"),
        )
        try:
            until("the coordinator to answer", self.answers)
            user = self.ask("/acs/users/create", acs_system_id=self.system, full_name="Jane Doe")
            self.user = user["acs_user"]["acs_user_id"]
        except BaseException:
            stop(self.process)
            raise
        return self

    def __exit__(self, *_):
        stop(self.process)

    def make(self, *command):
        """What a command of the coordinator prints."""
        done = subprocess.run([self.program, *command, "--json", "--database", self.database], capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"encoder-coordinator {' '.join(command)}: {done.stderr}")
        return json.loads(done.stdout)

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False

    def ask(self, path, **parameters):
        """Calls the HTTP API as the guest's network sees it, by the host name that was allowed."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", json.dumps(parameters).encode(),
            {"authorization": f"Bearer {self.key}", "content-type": "application/json", "host": f"{HOST}:{self.port}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode(errors='replace')}") from None

    # -- encoders

    def encoders(self):
        """The encoders that the coordinator knows, present or not."""
        return self.make("encoder", "list")

    def present(self):
        """The encoders that an agent lists now and that could take a job."""
        return [encoder for encoder in self.encoders() if encoder["state"] == "present"]

    def encoder(self, key=""):
        """The one encoder that is there and whose key contains this, once there is one."""
        def found():
            fitting = [encoder for encoder in self.present() if key in encoder["key"]]
            assert len(fitting) <= 1, f"expected one encoder with {key!r} in its key, found {fitting}"
            return fitting and fitting[0]

        try:
            return until(f"an encoder with {key!r} in its key", found)
        except AssertionError as error:
            raise AssertionError(f"{error}; the coordinator knows {self.encoders()}") from None

    def until_absent(self, encoder):
        until(f"{encoder['key']} to be reported as gone",
              lambda: all(other["acs_encoder_id"] != encoder["acs_encoder_id"] for other in self.present()))

    def events(self, kind):
        found = self.ask("/events/list", since="2020-01-01T00:00:00.000Z", event_type=kind)
        return found["events"]

    # -- jobs

    def credential(self):
        """A new credential's id."""
        made = self.ask("/acs/credentials/create", acs_user_id=self.user, access_method="card",
                        allowed_acs_entrance_ids=[self.entrance], starts_at=STARTS_AT, ends_at=ENDS_AT)
        return made["acs_credential"]["acs_credential_id"]

    def delete(self, credential):
        """Deletes a credential, which cancels a job that waits with it."""
        self.ask("/acs/credentials/delete", acs_credential_id=credential)

    def start_encode(self, encoder, credential=None):
        """Begins to encode a credential, a new one unless it is given, and answers its action attempt's id."""
        attempt = self.ask("/acs/encoders/encode_credential", acs_encoder_id=encoder["acs_encoder_id"],
                           acs_credential_id=credential or self.credential())
        return attempt["action_attempt"]["action_attempt_id"]

    def start_scan(self, encoder):
        attempt = self.ask("/acs/encoders/scan_credential", acs_encoder_id=encoder["acs_encoder_id"])
        return attempt["action_attempt"]["action_attempt_id"]

    def ended(self, attempt):
        """The action attempt, once it has ended."""
        def done():
            now = self.ask("/action_attempts/get", action_attempt_id=attempt)["action_attempt"]
            return now if now["status"] != "pending" else None

        return until("the job to end", done, JOB_PATIENCE)

    def succeeded(self, attempt):
        ended = self.ended(attempt)
        assert ended["status"] == "success", f"the job failed: {ended['error']}"
        return ended["result"]

    def failed(self, attempt, *codes):
        ended = self.ended(attempt)
        assert ended["status"] == "error", f"expected {' or '.join(codes)}, but the job succeeded"
        assert ended["error"]["type"] in codes, f"expected {' or '.join(codes)}, came {ended['error']}"
        return ended["error"]


class Emulator:
    """`encoder-agent emulate` on this machine, from `with` on."""

    def __init__(self, programs, work, device="pn532", *arguments):
        number = len(list(work.glob("emulator*.log")))
        self.terminal = work / f"emulated{number}"
        self.control = work / f"control{number}"
        self.log = work / f"emulator{number}.log"
        self.command = [programs / "encoder-agent", "emulate", device, "--link", self.terminal, "--control", self.control, *arguments]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=open(self.log, "w"), stderr=subprocess.STDOUT)
        until("the emulator to start", lambda: self.terminal.exists() and self.control.exists())
        return self

    def __exit__(self, *_):
        stop(self.process)

    def tell(self, command):
        """Sends one command and returns what follows `ok`."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.control))
            line.sendall(command.encode() + b"\n")
            answer = line.makefile().readline().strip()
        word, _, rest = answer.partition(" ")
        assert word == "ok", f"{command}: {answer}"
        return rest

    def bytes_in(self):
        """How many bytes have come from the host."""
        return int(self.tell("stats").split()[1])
