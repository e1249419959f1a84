"""What windows.sh shows, case by case, each on what the one before has left; a case fails by raising."""

import hashlib
import json
import os
import re
import subprocess
import time
import tomllib
import zipfile

from bench import DATA, PORT, PROGRAM, wait_for

TARGET = "x86_64-pc-windows-gnu"
BILL = "encoder-agent.cdx.json"
ARCHIVE = "encoder-agent-{}-windows-x86_64"
# Nobody debugs what is built here, and nobody changes it and builds again.
LEAN = {"CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_INCREMENTAL": "0"}
# What a stop may take, besides starting the program that asks for it.
STOP_SECONDS = 5
CASES = []


def case(check):
    """Marks a case; they run in the order in which they stand."""
    CASES.append(check)
    return check


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: expected {wanted!r}, found {found!r}")


def cargo(bench, *words, **environment):
    """Runs cargo for Windows and answers what it prints."""
    command, *arguments = words
    done = subprocess.run(
        ["cargo", command, "--locked", "--quiet", "--target", TARGET, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"CARGO_TARGET_DIR": str(bench.windows)} | LEAN | environment)
    if done.returncode != 0:
        raise AssertionError(f"cargo {' '.join(words)} ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return done.stdout


def build(bench):
    """The archive that is handed out: program, scripts, sample, and what the program must be."""
    cargo(bench, "build", "--profile", bench.profile, "--package", "encoder-agent", "--bins")
    program = bench.windows / TARGET / bench.profile.replace("dev", "debug") / "encoder-agent.exe"
    version = tomllib.loads(open("Cargo.toml").read())["workspace"]["package"]["version"]
    name = ARCHIVE.format(version)
    archive = bench.dist / f"{name}.zip"
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(program, f"{name}/encoder-agent.exe")
        packed.writestr(f"{name}/encoder-agent.exe.sha256", f"{digest}\r\n")
        for file in ("packaging/windows/install.cmd", "packaging/windows/uninstall.cmd", "packaging/windows/agent.toml", "README.md",
                     "LICENSE-MIT", "LICENSE-APACHE"):
            packed.write(file, f"{name}/{file.rpartition('/')[2]}")
    # Signatures go beside it: gpg --armor --detach-sign SHA256SUMS
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in (archive, bench.dist / BILL)]
    (bench.dist / "SHA256SUMS").write_text("".join(sums))
    return archive


def seconds_to(action):
    began = time.monotonic()
    action()
    return time.monotonic() - began


@case
def it_builds_and_is_packed(bench):
    """An archive whose program is what its checksum says; SHA256SUMS fits it, and the bill of what it is built of."""
    bench.archive = build(bench)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=bench.dist, check=True)
    listed = {line.split()[1] for line in (bench.dist / "SHA256SUMS").read_text().splitlines()}
    expect(listed, {file.name for file in bench.dist.iterdir()} - {"SHA256SUMS"}, "what SHA256SUMS lists")
    bill = json.loads((bench.dist / BILL).read_text())
    names = {part["name"] for part in bill["components"]}
    assert {"windows-service", "rusqlite"} <= names and "rustix" not in names, f"the bill of materials is another system's: {names}"
    with zipfile.ZipFile(bench.archive) as packed:
        [folder] = {name.partition("/")[0] for name in packed.namelist()}
        program = packed.read(f"{folder}/encoder-agent.exe")
        expect(packed.read(f"{folder}/encoder-agent.exe.sha256").decode().strip(), hashlib.sha256(program).hexdigest(), "the program's sum")
        for script in ("install.cmd", "uninstall.cmd"):
            text = packed.read(f"{folder}/{script}")
            assert text.count(b"\r\n") == text.count(b"\n") > 10, f"{script} has no line ends of Windows"
        tomllib.loads(packed.read(f"{folder}/agent.toml").decode())
    size = len(program) / 2**20
    print(f"       the program has {size:.1f} MiB, the archive {bench.archive.stat().st_size / 2**20:.1f} MiB ({bench.profile})")


@case
def clippy_finds_nothing(bench):
    cargo(bench, "clippy", "--no-deps", "--package", "encoder-agent", "--package", "encoder-protocols", "--lib", "--bins", "--tests", "--", "-D", "warnings")


@case
def the_unit_tests_pass(bench):
    """Under wine, of the agent and of the protocols."""
    said = cargo(bench, "test", "--package", "encoder-agent", "--package", "encoder-protocols", "--lib",
                 CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=bench.wine.wine, **bench.wine.own)
    counts = [tuple(map(int, found)) for found in re.findall(r"(\d+) passed; (\d+) failed; (\d+) ignored", said)]
    expect(len(counts), 2, "the crates that were tested")
    assert all(passed > 100 and failed == 0 for passed, failed, _ in counts), f"passed, failed, ignored: {counts}"
    print(f"       {sum(passed for passed, _, _ in counts)} unit tests")


@case
def the_services_account_is_whom_the_folder_is_for(bench):
    """The SID of a service is made of its name; the well-known one of another service shows how."""
    def sid(name):
        digest = hashlib.sha1(name.upper().encode("utf-16-le")).digest()
        return "S-1-5-80-" + "-".join(str(int.from_bytes(digest[at:at + 4], "little")) for at in range(0, 20, 4))

    expect(sid("TrustedInstaller"), "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464", "TrustedInstaller's SID")
    assert f'"*{sid("encoder-agent")}"' in open("src/cli/service/folder.rs").read(), "the folder is for somebody else"


@case
def installing_without_settings_starts_nothing(bench):
    """The archive's script, as group policies run it."""
    with zipfile.ZipFile(bench.archive) as packed:
        packed.extractall(bench.wine.path(r"C:\fetched"))
    [folder] = bench.wine.path(r"C:\fetched").iterdir()
    bench.script = rf"C:\fetched\{folder.name}"
    code, said = bench.wine.run("cmd.exe", "/c", rf"{bench.script}\install.cmd")
    assert "installed; pair it with `encoder-agent pair URL`" in said and "now pair it: " in said, said
    expect(bench.agent("service", "status", check=False), (1, "stopped"), "the state of the service without settings")
    code, said = bench.agent("service", "start", check=False)
    assert code == 1 and "ended by itself with 2" in said and r"logs\agent.log says why" in said, f"{code} {said}"
    assert "this agent is not paired: run `encoder-agent pair URL` as an administrator" in bench.log(), bench.log()
    assert (bench.wine.path(DATA) / "state").is_dir(), "there is no folder for the state"


@case
def the_service_is_registered_as_it_should_be(bench):
    """Starts by itself, under an account of its own, with restarts, and with its quoted program."""
    key = r"HKLM\System\CurrentControlSet\Services\encoder-agent"
    said = bench.wine.run("reg", "query", key)[1]
    values = {name: value for name, _, value in re.findall(r"^\s+(\w+)\s+(REG_\w+)\s+(.*)$", said, re.MULTILINE)}
    expect(values["Start"], "0x2", "how it starts")
    expect(values["ObjectName"], r"NT SERVICE\encoder-agent", "its account")
    expect(values["ImagePath"], rf'"{PROGRAM}" service run --config {DATA}\agent.toml --log {DATA}\logs\agent.log', "what is started")


@case
def installed_with_settings_it_encodes(bench):
    """install.cmd /config /token upgrades what is there, and starts it; then a key goes onto a card, and is read from it."""
    source = bench.wine.path(r"C:\share")
    source.mkdir()
    (source / "agent.toml").write_text(bench.settings())
    (source / "token").write_text(bench.seed["agent_token"])
    said = bench.wine.run("cmd.exe", "/c", rf"{bench.script}\install.cmd", "/config", r"C:\share\agent.toml", "/token", r"C:\share\token")[1]
    assert "running, process" in said, said
    code, said = bench.agent("service", "status")
    assert said.startswith("running, process"), said
    bench.encoder = bench.online(0)
    attempt = bench.begin_encode()
    bench.emulator.tell("place classic-1k uid ca4d0001")
    ended = bench.ended(attempt)
    expect((ended["error"], ended["result"] and ended["result"]["card_number"]), (None, "ca4d0001"), "the encode")
    scanned = bench.ended(bench.begin_scan())
    expect((scanned["error"], scanned["result"]["acs_credential_on_encoder"]["card_number"]), (None, "ca4d0001"), "the scan")
    bench.emulator.tell("remove")
    assert bench.seed["agent_token"] not in bench.log(), "the token is in the log"


@case
def the_port_is_listed_and_in_use(bench):
    """`check` and `devices` beside the service."""
    expect(bench.agent("check"), (0, "ok"), "what check says")
    said = bench.agent("devices", check=False)[1]
    assert PORT in said, said
    print(f"       {said.splitlines()[0] if said else ''}")


@case
def people_at_the_desk_ask_the_agent_through_its_pipe(bench):
    """The service has the port; commands beside it look, cancel, and read a card."""
    def look():
        return json.loads(bench.agent("status", "--json")[1])

    expect(look()["health"], {"state": "ok", "problems": []}, "the health")
    attempt = bench.begin_encode()
    wait_for("the encode to wait for its card", lambda: (look()["encoders"][0]["job"] or {}).get("waits_for") == "a card", 60)
    bench.agent("cancel")
    expect(bench.ended(attempt)["error"]["type"], "uncategorized_error", "the cancelled encode's error")
    bench.emulator.tell("place classic-1k uid ca4d0009")
    expect(json.loads(bench.agent("scan", "--json")[1])["uid"], "ca4d0009", "the card that is read beside the service")
    bench.emulator.tell("remove")


@case
def a_stop_lets_a_write_end(bench):
    """Every answer of the encoder comes late; the stop is asked for once the card has changed."""
    attempt = bench.begin_encode()
    for answer in range(1, 80):
        bench.emulator.tell(f"fault delay-response {answer} 150")
    bench.emulator.tell("place classic-1k uid ca4d0002")
    wait_for("the first byte on the card", lambda: bench.stat("card_writes") > 0, 60)
    took = seconds_to(lambda: bench.agent("service", "stop"))
    bench.emulator.tell("fault none")
    expect(bench.agent("service", "status", check=False), (1, "stopped"), "the service")
    assert "a write that has begun ends first" in bench.log(), bench.log()
    ended = bench.ended(attempt)
    expect((ended["error"], ended["result"] and ended["result"]["card_number"]), (None, "ca4d0002"), "the encode")
    print(f"       the stop in the middle of a write took {took:.1f} s")


@case
def an_idle_service_stops_at_once(bench):
    bench.emulator.tell("remove")
    before = bench.sessions()
    took = seconds_to(lambda: bench.agent("service", "start"))
    bench.online(before)
    stopped = seconds_to(lambda: bench.agent("service", "stop"))
    assert stopped <= STOP_SECONDS, f"the stop took {stopped:.1f} s"
    print(f"       the start took {took:.1f} s, the stop {stopped:.1f} s")
    expect(bench.agent("service", "stop"), (0, "stopped"), "a second stop")
    before = bench.sessions()
    bench.agent("service", "start")
    bench.online(before)
    again = bench.agent("service", "start")[1]
    assert again.startswith("running, process"), again


@case
def it_starts_with_the_pc_and_goes_on_with_what_waited(bench):
    """The power fails while an encode waits for its card; nobody starts the service afterwards."""
    attempt = bench.begin_encode()
    wait_for("the agent to have the job in its journal", lambda: bench.open_jobs() == 1)
    before = bench.sessions()
    bench.wine.reboot()
    bench.online(before)
    bench.emulator.tell("place classic-1k uid ca4d0003")
    ended = bench.ended(attempt)
    expect((ended["error"], ended["result"] and ended["result"]["card_number"]), (None, "ca4d0003"), "the encode")
    bench.emulator.tell("remove")


@case
def paired_by_a_code_its_tokens_are_encrypted(bench):
    """The pairing's token, the one that it is rotated to, and one that an agent before has left unencrypted."""
    agent = bench.operate("agent", "list")[0]["agent_id"]
    bench.agent("service", "stop")
    bench.wine.path(DATA + r"\agent.toml").write_text(bench.settings(coordinator=False))
    code = bench.operate("pairing", "code", "--agent", agent)["pairing_code"]
    said = bench.agent("pair", f"http://127.0.0.1:{bench.port}", code)[1]
    assert "paired with" in said and "`encoder-agent service start`" in said, said
    pairing, rotated = (bench.wine.path(rf"{DATA}\state\{name}") for name in ("pairing.json", "token.json"))

    def is_encrypted(file):
        return {name: value[:6] for name, value in json.loads(file.read_text()).items() if name in ("token", "replaces")}

    def starts():
        before = bench.sessions()
        bench.agent("service", "start")
        expect(bench.online(before), bench.encoder, "the encoder")

    expect(is_encrypted(pairing), {"token": "dpapi:"}, "the token of the pairing")
    starts()
    bench.operate("agent", "rotate", agent)
    wait_for("the rotated token", rotated.exists)
    expect(is_encrypted(rotated), {"token": "dpapi:", "replaces": "dpapi:"}, "the rotated token")
    bench.agent("service", "stop")
    starts()
    bench.agent("service", "stop")
    token = bench.operate("agent", "token", agent)["agent_token"]
    rotated.unlink()
    pairing.write_text(json.dumps(json.loads(pairing.read_text()) | {"token": token}))
    starts()
    expect(is_encrypted(pairing), {"token": "dpapi:"}, "the token of before")
    for file in bench.wine.path(DATA).rglob("*"):
        if file.is_file() and file.name != "token":
            assert token.encode() not in file.read_bytes(), f"{file} holds the token"


@case
def unusable_settings_are_told_in_the_log(bench):
    """A key that nobody knows, and back."""
    file = bench.wine.path(DATA + r"\agent.toml")
    sound = file.read_text()
    bench.agent("service", "stop")
    file.write_text("stat_dir = 'state'\n" + sound)
    code, said = bench.agent("service", "start", check=False)
    assert code == 1 and "ended by itself with 2" in said, f"{code} {said}"
    assert "did you mean `state_dir`?" in bench.log(), bench.log()[-2000:]
    file.write_text(sound)
    before = bench.sessions()
    bench.agent("service", "start")
    bench.online(before)


@case
def uninstalling_keeps_settings_and_state(bench):
    """The archive's script; the service is gone, and with it its program."""
    said = bench.wine.run("cmd.exe", "/c", rf"{bench.script}\uninstall.cmd")[1]
    assert "uninstalled; settings, state and logs are still in" in said, said
    assert not bench.wine.path(PROGRAM).exists(), "the program is still there"
    code, said = bench.wine.run(rf"{bench.script}\encoder-agent.exe", "service", "status", check=False)
    expect((code, said), (1, "not installed"), "the service")
    for name in ("agent.toml", "token", r"state\pairing.json", r"state\journal.sqlite", r"logs\agent.log"):
        assert bench.wine.path(rf"{DATA}\{name}").stat().st_size > 0, f"{name} is empty"
    code, said = bench.wine.run(rf"{bench.script}\encoder-agent.exe", "service", "start", check=False)
    assert code == 1 and "encoder-agent service install" in said, f"{code} {said}"


@case
def installed_again_it_is_the_same_encoder(bench):
    """What was kept counts; then everything is purged."""
    before = bench.sessions()
    bench.wine.run("cmd.exe", "/c", rf"{bench.script}\install.cmd")
    expect(bench.online(before), bench.encoder, "the encoder")
    said = bench.wine.run("cmd.exe", "/c", rf"{bench.script}\uninstall.cmd", "/purge")[1]
    assert "nothing is left" in said, said
    assert not bench.wine.path(DATA).exists() and not bench.wine.path(PROGRAM).parent.exists(), "something is left"


@case
def a_silent_installation_pairs_by_a_fleet_token(bench):
    """One command, as a group policy runs it at every start of the PC: a second time it pairs nothing."""
    fleet = bench.operate("pairing", "fleet-token", "create", "--uses", "1")
    bench.wine.path(r"C:\share\fleet").write_text(fleet["fleet_token"] + "\n")
    bench.wine.path(r"C:\share\agent.toml").write_text(bench.settings(coordinator=False))
    command = ["cmd.exe", "/c", rf"{bench.script}\install.cmd", "/pair", f"http://127.0.0.1:{bench.port}", "/fleettoken", r"C:\share\fleet",
               "/config", r"C:\share\agent.toml"]
    for _ in range(2):
        before = bench.sessions()
        said = bench.wine.run(*command)[1]
        assert "running, process" in said and fleet["fleet_token"] not in said, said
        wait_for("the agent to connect", lambda: bench.sessions() > before, 60)
    expect(len(bench.operate("agent", "list")), 2, "the agents")
    bench.wine.run("cmd.exe", "/c", rf"{bench.script}\uninstall.cmd", "/purge")
