"""What packages.sh shows, case by case, each on what the one before has left; a case fails by raising."""

import hashlib
import json
import os
import re
import socket
import tomllib

from machine import run, until

MOST_EXPOSED = 1.5
# Of the agent, stripped.
MOST_BYTES = 8_000_000
AGENT, COORDINATOR = "encoder-agent", "encoder-coordinator"
BOTH = (AGENT, COORDINATOR)
URL = "http://127.0.0.1:8480"
STORE = "--database sqlite:/var/lib/encoder-coordinator/coordinator.sqlite --master-key /var/lib/encoder-coordinator-key/master.key"
ENCODER = "/srv/bench/encoder"
PAIRING = "/var/lib/private/encoder-agent/pairing.json"
SETTINGS = f"""state_dir = "/var/lib/encoder-agent"
[[encoder]]
name = "Front Desk"
driver = "pn532"
port = "{ENCODER}"
simulated = true
"""
# What is in the packages besides manual pages: path, and mode where it is not 644.
CONTENTS = {
    AGENT: {
        "usr/bin/encoder-agent": "755",
        "usr/lib/systemd/system/encoder-agent.service": "644",
        "usr/lib/sysusers.d/encoder-agent.conf": "644",
        "usr/lib/udev/rules.d/60-encoder-agent.rules": "644",
        "usr/lib/udev/rules.d/91-encoder-agent-brltty.rules": "644",
        "usr/share/doc/encoder-agent/examples/agent.toml": "644",
    },
    COORDINATOR: {
        "etc/default/encoder-coordinator": "644",
        "usr/bin/encoder-coordinator": "755",
        "usr/lib/systemd/system/encoder-coordinator.service": "644",
        "usr/lib/systemd/system/encoder-coordinator.socket": "644",
        "usr/lib/sysusers.d/encoder-coordinator.conf": "644",
    },
}
CASES = []


def case(check):
    """Marks a case; they run in the order in which they stand."""
    CASES.append(check)
    return check


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: expected {wanted!r}, found {found!r}")


class Desk:
    """The packages, and the machine that they are installed on."""

    def __init__(self, packages, newer, machine):
        self.packages, self.newer, self.machine = packages, newer, machine
        self.keys = self.encoder = self.before = None

    def package(self, name, folder=None):
        [found] = (folder or self.packages).glob(f"{name}_*.deb")
        return found

    def install(self, *files):
        """Installs packages as a user does who has fetched them."""
        for file in files:
            (self.machine.shared / file.name).write_bytes(file.read_bytes())
        self.machine.run(f"cd /srv/bench && dpkg --install {' '.join(file.name for file in files)}")

    def operate(self, *command):
        """What a command of the coordinator prints, run as its operator is told to."""
        words = " ".join(f"'{word}'" for word in command)
        return json.loads(self.machine.run(f"runuser -u encoder-coordinator -- encoder-coordinator {words} --json {STORE}"))

    def ask(self, path, **parameters):
        return self.machine.ask(URL + path, self.keys["api_key"], **parameters)

    def tell(self, line):
        """Steers the emulated encoder."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(str(self.machine.shared / "control"))
            control.sendall(f"{line}\n".encode())
            answer = control.makefile().readline()
        assert answer.startswith("ok"), f"the emulator took {line!r} with {answer!r}"

    def plug_in(self):
        """An emulated PN532, which belongs to the group of the serial ports, as udev would have it."""
        self.machine.run(f"rm -f {ENCODER} /srv/bench/control")
        self.machine.run(
            f"systemd-run --quiet --collect --unit=bench-encoder -p Type=exec encoder-agent emulate pn532 --no-card --link {ENCODER} --control /srv/bench/control")
        until("the emulated encoder", lambda: self.machine.does(f"test -e {ENCODER}") and (self.machine.shared / "control").exists())
        self.machine.run(f"port=$(readlink {ENCODER}); chgrp dialout $port; chmod 660 $port")

    def says(self, unit, text, otherwise):
        """Whether a program, since it was started, has said this after whatever else it says of the matter."""
        said = self.machine.run(
            f"journalctl --quiet --output=cat _SYSTEMD_INVOCATION_ID=$(systemctl show --value --property=InvocationID {unit}) "
            f"| grep -e '{text}' -e '{otherwise}' | tail -n 1")
        return text in said

    def ready_encoder(self):
        def ready():
            # The list tells what the agent said last, which may be before either was started.
            is_current = (self.says(COORDINATOR, "an agent has connected", "session has ended")
                          and self.says(AGENT, "the encoder is ready", "the encoder cannot be used"))
            found = self.operate("encoder", "list") if is_current else []
            return next((encoder for encoder in found if encoder["state"] == "present"), None)

        return until("the encoder to be there and ready, and its agent connected", ready)

    def begin_encode(self):
        made = self.ask("/acs/credentials/create", acs_user_id=self.keys["user"], access_method="card",
                        allowed_acs_entrance_ids=[self.keys["entrance"]], starts_at="2026-12-01T15:00:00.000Z", ends_at="2046-12-04T12:00:00.000Z")
        asked = self.ask("/acs/encoders/encode_credential", acs_encoder_id=self.encoder["acs_encoder_id"],
                         acs_credential_id=made["acs_credential"]["acs_credential_id"])
        return asked["action_attempt"]["action_attempt_id"]

    def attempt(self, attempt):
        return self.ask("/action_attempts/get", action_attempt_id=attempt)["action_attempt"]

    def expect_success(self, attempt, uid):
        ended = until("the encode to end", lambda: (now := self.attempt(attempt))["status"] != "pending" and now)
        expect(ended["error"], None, "the encode's error")
        expect(ended["result"]["card_number"], uid, "the card that was encoded")


@case
def the_packages_hold_what_they_should(desk):
    """Files, modes, scripts, control fields, manual pages, completions."""
    for name, wanted in CONTENTS.items():
        package = desk.package(name)
        listed = run("dpkg-deb", "--contents", package)
        modes = {"-rwxr-xr-x": "755", "-rw-r--r--": "644"}
        files = {}
        for line in listed.splitlines():
            mode, owner, size, _, _, path = line.split(maxsplit=5)
            assert owner in ("0/0", "root/root"), f"{path} belongs to {owner}"
            if path == "./usr/bin/encoder-agent" and os.environ.get("ENCODER_AGENT_PROFILE", "release") == "release":
                assert int(size) <= MOST_BYTES, f"the agent has {size} bytes"
            if not mode.startswith("d"):
                files[path.removeprefix("./").removesuffix(".gz")] = modes[mode]
        documents = {f"usr/share/doc/{name}/{document}": "644" for document in ("README.md", "LICENSE-APACHE", "copyright")}
        shells = {f"usr/share/bash-completion/completions/{name}": "644", f"usr/share/zsh/vendor-completions/_{name}": "644",
                  f"usr/share/fish/vendor_completions.d/{name}.fish": "644"}
        pages = {path for path in files if path.startswith(f"usr/share/man/man1/{name}") and path.endswith(".1")}
        page = f"usr/share/man/man1/{name}-{'run' if name == AGENT else 'serve'}.1"
        assert page in pages and len(pages) > 4 and not any("-help" in path for path in pages), f"{name} has the manual pages {sorted(pages)}"
        expect({path: mode for path, mode in files.items() if path not in pages}, wanted | documents | shells, f"{name}'s files")
        scripts = run("dpkg-deb", "--info", package)
        for script in ("postinst", "prerm", "postrm"):
            assert f" {script} " in scripts, f"{name} has no {script}"
        depends = run("dpkg-deb", "--field", package, "Depends")
        assert "libc6" in depends and "systemd-sysusers" in depends, f"{name} depends on {depends}"
        assert "libudev" not in depends and "libusb" not in depends and "libssl" not in depends, f"{name} depends on {depends}"


@case
def sums_and_bills_of_materials_lie_beside_them(desk):
    """SHA256SUMS fits, and each bill of materials names what is in Cargo.lock."""
    sums = dict(line.split()[::-1] for line in (desk.packages / "SHA256SUMS").read_text().splitlines())
    files = {file.name for file in desk.packages.iterdir()} - {"SHA256SUMS"}
    expect(set(sums), files, "what SHA256SUMS lists")
    for name, digest in sums.items():
        expect(digest, hashlib.sha256((desk.packages / name).read_bytes()).hexdigest(), f"the sum of {name}")
    locked = {(package["name"], package["version"]) for package in tomllib.loads(open("Cargo.lock").read())["package"]}
    for name in BOTH:
        bill = json.loads((desk.packages / f"{name}.cdx.json").read_text())
        expect(bill["metadata"]["component"]["name"], name, "what the bill of materials is about")
        listed = {(part["name"], part["version"]) for part in bill["components"]}
        assert ("rustls" in {part for part, _ in listed}) and listed <= locked, f"{name}: not in Cargo.lock: {listed - locked}"
        for part in bill["components"]:
            assert part.get("licenses") or part["name"].startswith("encoder-"), f"{part['name']} has no licence"


@case
def installing_starts_nothing_unpaired(desk):
    """The agent is enabled and waits for its settings; the coordinator runs; each has a user of its own."""
    machine = desk.machine
    desk.before = machine.files()
    desk.install(*(desk.package(name) for name in BOTH))
    for name in BOTH:
        machine.run(f"getent passwd {name} && getent group {name}")
        expect(machine.run(f"systemctl is-enabled {name}").strip(), "enabled", name)
    expect(machine.property(AGENT, "ActiveState"), "inactive", "the unpaired agent")
    expect(machine.property(AGENT, "NRestarts"), "0", "its restarts")
    assert AGENT not in machine.programs(), "an agent runs"
    expect(machine.run("stat -c '%U %G %a' /etc/encoder-agent").strip(), "root encoder-agent 750", "the settings' directory")
    expect(machine.property(COORDINATOR, "ActiveState"), "active", "the coordinator")
    expect(machine.ask(f"{URL}/health")["ok"], True, "the coordinator's health")


@case
def the_units_are_closed_and_sound(desk):
    """systemd-analyze: exposure, and no word from verify."""
    for name in BOTH:
        unit = f"/usr/lib/systemd/system/{name}.service"
        judged = desk.machine.run(f"systemd-analyze security --offline=true --no-pager {unit}")
        exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", judged)[1])
        print(f"exposure of {name}: {exposure}", flush=True)
        assert exposure <= MOST_EXPOSED, f"{name} is exposed by {exposure}:\n{judged}"
        expect(desk.machine.run(f"systemd-analyze verify --man=no {unit} 2>&1"), "", f"what verify says of {name}")
    expect(desk.machine.run("systemd-analyze verify --man=no /usr/lib/systemd/system/encoder-coordinator.socket 2>&1"), "", "what verify says of the socket")
    for name in BOTH:
        expect(desk.machine.property(name, "Restart"), "always", f"{name}'s Restart")
        expect(desk.machine.property(name, "StartLimitIntervalUSec"), "0", f"{name}'s start limit")


@case
def a_desk_is_paired_and_encodes(desk):
    """A code, then a key onto a card, all of it in the units' sandboxes."""
    machine = desk.machine
    desk.operate("workspace", "create", "--name", "Grand Hotel")
    desk.operate("system", "create", "--name", "Main building")
    entrance = desk.operate("entrance", "create", "--name", "Room 101")
    key = desk.operate("key", "create", "--label", "property system")
    code = desk.operate("pairing", "code")
    desk.keys = {"entrance": entrance["acs_entrance_id"], "api_key": key["api_key"]}
    user = desk.ask("/acs/users/create", acs_system_id=code["acs_system_id"], full_name="Jane Doe")
    desk.keys["user"] = user["acs_user"]["acs_user_id"]
    desk.plug_in()
    (machine.shared / "agent.toml").write_text(SETTINGS)
    machine.run("install -m 0640 -g encoder-agent /srv/bench/agent.toml /etc/encoder-agent")
    paired = machine.run(f"echo '{code['pairing_code']}' | encoder-agent pair {URL}")
    assert "paired with ws://127.0.0.1:8480" in paired and "Main building" in paired, f"pairing said {paired}"
    machine.run("encoder-agent check")
    machine.run("systemctl start encoder-agent")
    desk.encoder = desk.ready_encoder()
    expect(machine.run(f"stat -c '%U %a' {PAIRING}").strip(), f"{AGENT} 600", "the pairing's owner and mode")
    pid = machine.property(AGENT, "MainPID")
    status = machine.run(f"cat /proc/{pid}/status")
    expect(re.search(r"CapBnd:\s*(\w+)", status)[1].strip("0"), "", "the agent's capabilities")
    expect(machine.run(f"stat -c %U /proc/{pid}").strip(), AGENT, "the agent's user")
    desk.tell("place classic-1k uid ca4d0001")
    attempt = desk.begin_encode()
    desk.expect_success(attempt, "ca4d0001")
    desk.tell("remove")
    job = lambda: machine.run(f"journalctl --quiet --output=json --unit=encoder-agent AGENT_JOB={attempt} AGENT_OUTCOME=success")
    entry = json.loads(until("the job in systemd's journal, by its fields", job))
    assert entry["MESSAGE"].startswith("encoder_agent::") and "AGENT_WORKED_MS" in entry, f"the journal has {entry}"
    expect(entry["PRIORITY"], "6", "the entry's priority")


@case
def people_at_the_desk_ask_the_agent_through_its_sandbox(desk):
    """Everyone may look and cancel, root alone touches cards, and settings are read again without a job's end."""
    machine = desk.machine
    look = lambda: json.loads(machine.run("runuser -u nobody -- encoder-agent status --json"))
    expect(look()["health"], {"state": "ok", "problems": []}, "the health that anybody sees")
    attempt = desk.begin_encode()
    until("the encode to wait for its card", lambda: (look()["encoders"][0]["job"] or {}).get("waits_for") == "a card")
    read_at = look()["config"]["read_at"]
    machine.run("systemctl reload encoder-agent")
    until("the settings to be read again", lambda: look()["config"]["read_at"] != read_at)
    assert not machine.does("runuser -u nobody -- encoder-agent scan --wait 1"), "anybody may read cards"
    machine.run("runuser -u nobody -- encoder-agent cancel")
    ended = until("the encode to end", lambda: (now := desk.attempt(attempt))["status"] != "pending" and now)
    expect(ended["error"]["type"], "uncategorized_error", "the cancelled encode's error")
    desk.tell("place classic-1k uid ca4d0009")
    expect(json.loads(machine.run("encoder-agent scan --json"))["uid"], "ca4d0009", "the card that root reads")
    desk.tell("remove")
    expect(desk.machine.run("stat -c %a /run/encoder-agent/agent.sock").strip(), "666", "the socket's mode")


@case
def an_agent_that_hangs_is_started_again(desk):
    """A stopped process feeds no watchdog; the limit is short here."""
    machine = desk.machine
    machine.run("mkdir -p /run/systemd/system/encoder-agent.service.d && cd /run/systemd/system/encoder-agent.service.d && "
                "printf '[Service]\\nWatchdogSec=3\\n' > short.conf && systemctl daemon-reload && systemctl restart encoder-agent")
    pid = machine.property(AGENT, "MainPID")
    machine.run(f"kill -STOP {pid}")
    # Between the two it has no process, whose number is 0.
    until("another process", lambda: machine.property(AGENT, "MainPID") not in (pid, "0") and machine.property(AGENT, "ActiveState") == "active")
    expect(machine.property(AGENT, "NRestarts"), "1", "the restarts")
    assert not machine.does("find / -xdev -name 'core*' -path '*/encoder-agent/*' | grep ."), "it has left a core"
    machine.run("rm -r /run/systemd/system/encoder-agent.service.d && systemctl daemon-reload && systemctl restart encoder-agent")
    expect(desk.ready_encoder()["acs_encoder_id"], desk.encoder["acs_encoder_id"], "the encoder")


@case
def an_upgrade_keeps_a_waiting_job_and_who_the_agent_is(desk):
    """Newer packages go on while an encode waits for its card; the card is put down afterwards."""
    attempt = desk.begin_encode()
    until("the agent to have the job in its journal", lambda: desk.machine.open_jobs() == 1)
    settings = desk.machine.run(f"sha256sum /etc/encoder-agent/agent.toml {PAIRING}")
    pid = desk.machine.property(AGENT, "MainPID")
    desk.install(*(desk.package(name, desk.newer) for name in BOTH))
    assert desk.machine.property(AGENT, "MainPID") != pid, "the old agent still runs"
    expect(desk.machine.run(f"sha256sum /etc/encoder-agent/agent.toml {PAIRING}"), settings, "settings and pairing")
    expect(desk.ready_encoder()["acs_encoder_id"], desk.encoder["acs_encoder_id"], "the encoder")
    expect(desk.attempt(attempt)["status"], "pending", "the encode that waits")
    desk.tell("place classic-1k uid ca4d0002")
    desk.expect_success(attempt, "ca4d0002")
    desk.tell("remove")


@case
def after_a_reboot_it_is_the_same_encoder(desk):
    """Both start by themselves."""
    desk.machine.power_off()
    desk.machine.boot()
    desk.plug_in()
    expect(desk.ready_encoder()["acs_encoder_id"], desk.encoder["acs_encoder_id"], "the encoder")
    desk.tell("place classic-1k uid ca4d0003")
    desk.expect_success(desk.begin_encode(), "ca4d0003")


@case
def systemd_can_hold_the_coordinators_address(desk):
    """With the socket unit the first request starts the service."""
    machine = desk.machine
    machine.run("systemctl stop encoder-coordinator && systemctl start encoder-coordinator.socket")
    expect(machine.property(COORDINATOR, "ActiveState"), "inactive", "the coordinator before a request")
    expect(machine.ask(f"{URL}/health")["ok"], True, "the coordinator's health")
    expect(machine.property(COORDINATOR, "ActiveState"), "active", "the coordinator")
    expect(desk.ready_encoder()["acs_encoder_id"], desk.encoder["acs_encoder_id"], "the encoder")


@case
def removing_keeps_settings_and_state(desk):
    """Nothing runs any more, and everything that is the user's is still there."""
    machine = desk.machine
    machine.run("systemctl stop bench-encoder")
    machine.run(f"dpkg --remove {' '.join(BOTH)}")
    for name in BOTH:
        assert name not in machine.programs(), f"{name} runs"
    machine.run(f"test -s {PAIRING} && test -s /var/lib/private/encoder-agent/journal.sqlite")
    machine.run("test -s /var/lib/encoder-coordinator/coordinator.sqlite && test -s /var/lib/encoder-coordinator-key/master.key")


@case
def purging_leaves_nothing(desk):
    """No file, no user, no group."""
    desk.machine.run(f"dpkg --purge {' '.join(BOTH)}")
    expect(sorted(desk.machine.files() - desk.before), [], "what was left behind")
    expect(sorted(desk.before - desk.machine.files()), [], "what was taken along")
    for name in BOTH:
        assert not desk.machine.does(f"getent passwd {name} || getent group {name}"), f"{name} is still a user or a group"
        assert not desk.machine.does(f"dpkg -s {name}"), f"dpkg still knows {name}"
