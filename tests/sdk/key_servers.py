"""An access system whose cards a key server makes: `examples/key_server.py`, a real desk and a simulated encoder."""

import os
import pathlib
import subprocess
import sys

from desk import free_port, stop, wait_for
from steps import Steps, case

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "key_server.py"
# Where the example writes on a MIFARE Classic card: the first block of sector 1.
START = 64


class Example:
    """The example key server, with this secret, on this port."""

    def __init__(self, folder, secret, port):
        self.url = f"http://127.0.0.1:{port}/"
        self.log = folder / f"key-server-{port}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, EXAMPLE, str(port)],
                env=os.environ | {"KEY_SERVER_SECRET": secret, "SITE_KEY": "000102030405060708090a0b0c0d0e0f"},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        wait_for("the key server", lambda: "listening" in self.log.read_text())

    def answers(self, status):
        """How many questions it has answered with this status."""
        return self.log.read_text().count(f'HTTP/1.1" {status}')


class KeyServers(Steps):
    def __init__(self, desk):
        super().__init__(desk)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        made = desk.command(
            "system", "create", "--name", "Locks", "--kind", "external", "--key-server", self.url,
            "--workspace", desk.workspace(),
        )
        self.system = made["acs_system_id"]
        self.server = self.start(made["key_server_secret"], port)
        self.doors = [desk.entrance(name, self.system)["acs_entrance_id"] for name in ("Room 101", "Pool")]
        self.user = self.seam.acs.users.create(acs_system_id=self.system, full_name="Jane Doe")
        self.simulated = desk.simulated_encoder(self.system)
        self.second = None
        self.encoded = None

    def start(self, secret, port):
        """Starts an example key server, which ends with the desk."""
        server = Example(self.desk.folder, secret, port)
        self.desk.beside.append(server.process)
        return server

    def guest(self):
        return self.credential(self.doors)

    def put_down(self, uid, kind="classic-1k"):
        self.desk.fresh_card(uid, kind, self.second.emulator)

    def memory(self):
        return self.second.emulator.memory(self.second.folder)

    @case
    def a_simulated_card_of_a_key_server_is_issued(self):
        self.encoder_id = self.simulated
        assert self.encode(self.guest()).result.is_issued is True
        assert self.server.answers(200) == 1

    @case
    def a_real_card_gets_the_key_servers_bytes(self):
        self.second = self.desk.second_agent(self.system)

        def listed():
            encoders = self.seam.acs.encoders.list(acs_system_ids=[self.system])
            return [each for each in encoders if each.display_name == "Front Desk"]

        self.encoder_id = wait_for("the second desk's encoder", listed)[0].acs_encoder_id
        self.put_down("c0ffee01")
        self.encoded = self.encode(self.guest()).result
        assert self.encoded.card_number == "c0ffee01", self.encoded
        assert self.server.answers(200) == 2
        assert self.memory()[START:START + 4] == b"LOCK"

    @case
    def a_scan_of_it_tells_whose_card_it_is(self):
        result = self.scan().result
        assert result.acs_credential_on_encoder.card_number == "c0ffee01"
        assert result.acs_credential_on_seam.acs_credential_id == self.encoded.acs_credential_id
        assert result.warnings == []

    @case
    def a_key_servers_refusal_ends_the_attempt_in_its_words(self):
        self.put_down("04a1b2c3d4e5f6", "ntag213")
        error = self.fails_with("incompatible_card_format", lambda: self.encode(self.guest()))
        assert "our locks read MIFARE Classic cards only" in str(error), error
        self.is_untouched(error.action_attempt)

    @case
    def a_key_servers_secret_changes_without_an_outage(self):
        made = self.desk.command("system", "key-server-secret", "--system", self.system)
        assert made["secrets_in_use"] == 2, made
        self.put_down("c0ffee02")
        assert self.encode(self.guest()).result.card_number == "c0ffee02", "the old secret counts still"
        successor = self.start(made["key_server_secret"], free_port())
        self.desk.command("system", "key-server", "--system", self.system, successor.url)
        self.put_down("c0ffee03")
        assert self.encode(self.guest()).result.card_number == "c0ffee03", "the new secret counts already"
        assert successor.answers(200) == 1
        self.desk.command("system", "key-server-secret", "--system", self.system, "--end-old")
        self.put_down("c0ffee04")
        assert self.encode(self.guest()).result.card_number == "c0ffee04"
        self.desk.command("system", "key-server", "--system", self.system, self.server.url)
        self.put_down("c0ffee05")
        error = self.fails_with("uncategorized_error", lambda: self.encode(self.guest()))
        assert "401" in str(error), "the old secret counts no more"
        self.is_untouched(error.action_attempt)
        self.desk.command("system", "key-server", "--system", self.system, successor.url)
        self.server = successor

    @case
    def an_outage_of_the_key_server_writes_nothing(self):
        stop(self.server.process)
        self.put_down("c0ffee06")
        before = self.memory()
        error = self.fails_with("uncategorized_error", lambda: self.encode(self.guest()))
        assert "the key server gave no image, so nothing was written" in str(error), error
        self.is_untouched(error.action_attempt)
        assert self.memory() == before
