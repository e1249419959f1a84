"""A front desk for tests: coordinator, agent and emulated encoder as real processes in a folder of their own."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.request


def wait_for(what, condition, seconds=15.0):
    """Waits until `condition()` is true and returns its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s for {what}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Emulator:
    """An emulated PN532 on a pty, with its command socket."""

    def __init__(self, programs, folder, card):
        self.link = folder / "encoder"
        self.control = folder / "emulator.sock"
        self.log = open(folder / "emulator.log", "w")
        self.process = subprocess.Popen(
            [programs / "encoder-agent", "emulate", "pn532", "--link", self.link, "--card", card,
             "--control", self.control],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )
        wait_for("the emulated port", lambda: self.link.exists() and self.control.exists())

    def tell(self, command):
        """Sends one command and returns what follows `ok`."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.control))
            line.sendall(command.encode() + b"\n")
            answer = line.makefile().readline().strip()
        word, _, rest = answer.partition(" ")
        assert word == "ok", f"{command}: {answer}"
        return rest

    def memory(self, folder):
        """Every byte of the card that lies there."""
        dump = folder / "dump"
        self.tell(f"dump {dump}")
        return dump.read_bytes()

    def stop(self):
        stop(self.process)
        self.log.close()


class Agent:
    """An agent with one emulated encoder, in a folder of its own."""

    def __init__(self, programs, folder, port, token):
        self.programs, self.folder, self.process = programs, folder, None
        self.emulator = Emulator(programs, folder, "classic-1k")
        self.config = folder / "agent.toml"
        self.config.write_text(
            f'state_dir = "{folder}/state"\n'
            f'[coordinator]\nurl = "ws://127.0.0.1:{port}"\ntoken = "{token}"\n'
            f'[[encoder]]\nname = "Front Desk"\ndriver = "pn532"\nport = "{self.emulator.link}"\n'
        )
        self.start()

    def start(self):
        self.log = open(self.folder / "agent.log", "a")
        self.process = subprocess.Popen(
            [self.programs / "encoder-agent", "run", "--config", self.config],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )

    def stop(self):
        stop(self.process)
        self.log.close()


class Desk:
    """Everything between an HTTP call and a card."""

    def __init__(self, programs, folder):
        self.programs = pathlib.Path(programs)
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        self.coordinator_log = open(self.folder / "coordinator.log", "w")
        self.coordinator = subprocess.Popen(
            [self.programs / "encoder-coordinator", "serve", "--listen", f"127.0.0.1:{self.port}",
             "--database", f"sqlite:{self.folder}/coordinator.sqlite", "--seed-demo", "--allow-private-targets"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.coordinator_log, text=True,
        )
        self.seed = json.loads(self.coordinator.stdout.readline())
        self.agents = [Agent(self.programs, self.folder, self.port, self.seed["agent_token"])]
        self.emulator = self.agents[0].emulator
        # Further processes that end with the desk.
        self.beside = []

    def stop_agent(self):
        self.agents[0].stop()

    def second_agent(self, acs_system_id):
        """Another agent with an emulated encoder, of this access system."""
        made = self.command("agent", "create", "--system", acs_system_id, "--name", "Second desk")
        folder = self.folder / "second"
        folder.mkdir()
        self.agents.append(Agent(self.programs, folder, self.port, made["agent_token"]))
        return self.agents[-1]

    def simulated_encoder(self, acs_system_id):
        """The id of a new simulated encoder of this access system."""
        made = self.command("encoder", "create", "--simulated", "--system", acs_system_id)
        return made["acs_encoder_id"]

    def command(self, *arguments):
        """What an `encoder-coordinator` command prints."""
        made = subprocess.run(
            [self.programs / "encoder-coordinator", *arguments, "--json",
             "--database", f"sqlite:{self.folder}/coordinator.sqlite"],
            stdout=subprocess.PIPE, text=True, check=True,
        )
        return json.loads(made.stdout)

    def entrance(self, name, system=None):
        """A new entrance of the seeded system or another one."""
        system = system or self.seed["acs_system_id"]
        return self.command("entrance", "create", "--system", system, "--name", name)

    def workspace(self):
        """The id of the seeded workspace."""
        systems = self.command("system", "list")
        return next(it["workspace_id"] for it in systems if it["acs_system_id"] == self.seed["acs_system_id"])

    def gym(self, card_numbers):
        """An access system whose cards are registered before, with these cards and an entrance."""
        system = self.command(
            "system", "create", "--name", "Gym", "--kind", "brivo", "--workspace", self.workspace()
        )
        entrance = self.entrance("Turnstile", system["acs_system_id"])
        self.command("card", "register", "--system", system["acs_system_id"], *card_numbers)
        return entrance | system

    def second_workspace(self):
        """Another workspace, with an access system."""
        workspace = self.command("workspace", "create", "--name", "Neighbour")
        system = self.command("system", "create", "--name", "Annexe", "--workspace", workspace["workspace_id"])
        return workspace | system

    def token(self, workspace_ids):
        """A personal access token that opens these workspaces."""
        opened = [argument for each in workspace_ids for argument in ("--workspace", each)]
        return self.command("token", "create", *opened)["personal_access_token"]

    def fresh_card(self, uid, kind="classic-1k", emulator=None):
        """Takes whatever card lies there away and puts a new one down."""
        emulator = emulator or self.emulator
        emulator.tell("remove")
        self.until_seen_absent()
        emulator.tell(f"place {kind} uid {uid}")

    @staticmethod
    def until_seen_absent():
        # Two polls at least 200 ms apart must find the field empty (a person takes longer).
        time.sleep(0.6)

    def health(self):
        with urllib.request.urlopen(self.seed["endpoint"] + "/health") as answer:
            return json.load(answer)

    def raw_attempt(self, action_attempt_id):
        """An action attempt as it stands in the answer: the SDK's models drop fields that they do not know."""
        request = urllib.request.Request(
            f"{self.seed['endpoint']}/action_attempts/get?action_attempt_id={action_attempt_id}",
            headers={"authorization": f"Bearer {self.seed['api_key']}"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["action_attempt"]

    def resident_kib(self):
        """Resident memory of the agent."""
        status = pathlib.Path(f"/proc/{self.agents[0].process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def stop(self):
        for agent in self.agents:
            agent.stop()
        for process in (self.coordinator, *self.beside):
            stop(process)
        for agent in self.agents:
            agent.emulator.stop()
        self.coordinator_log.close()


def stop(process):
    if process is not None and process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
