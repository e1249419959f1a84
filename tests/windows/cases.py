"""What windows.sh shows, case by case, each on what the one before has left; a case fails by raising."""

import hashlib
import os
import re
import subprocess
import time
import tomllib
import zipfile

from bench import DATA, PORT, PROGRAM, wait_for

TARGET = "x86_64-pc-windows-gnu"
ARCHIVE = "encoder-agent-{}-windows-x86_64"
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
        env=os.environ | {"CARGO_TARGET_DIR": str(bench.windows)} | environment)
    if done.returncode != 0:
        raise AssertionError(f"cargo {' '.join(words)} ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return done.stdout


def build(bench):
    """The archive that is handed out: program, scripts, sample, and what the program must be."""
    cargo(bench, "build", "--profile", bench.profile, "--package", "encoder-agent", "--bins")
    program = bench.windows / TARGET / bench.profile.replace("dev", "debug") / "encoder-agent.exe"
    version = tomllib.loads(open("Cargo.toml").read())["workspace"]["package"]["version"]
    folder = bench.windows / "dist"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    name = ARCHIVE.format(version)
    archive = folder / f"{name}.zip"
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(program, f"{name}/encoder-agent.exe")
        packed.writestr(f"{name}/encoder-agent.exe.sha256", f"{digest}\r\n")
        for file in ("packaging/windows/install.cmd", "packaging/windows/uninstall.cmd", "packaging/windows/agent.toml", "README.md",
                     "LICENSE-MIT", "LICENSE-APACHE"):
            packed.write(file, f"{name}/{file.rpartition('/')[2]}")
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n")
    return archive


def seconds_to(action):
    began = time.monotonic()
    action()
    return time.monotonic() - began


@case
def it_builds_and_is_packed(bench):
    """An archive whose program is what its checksum says, and which is what SHA256SUMS says."""
    bench.archive = build(bench)
    [line] = (bench.archive.parent / "SHA256SUMS").read_text().splitlines()
    expect(line.split(), [hashlib.sha256(bench.archive.read_bytes()).hexdigest(), bench.archive.name], "SHA256SUMS")
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
    assert "installed; it starts once its settings are in" in said, said
    expect(bench.agent("service", "status", check=False), (1, "stopped"), "the state of the service without settings")
    code, said = bench.agent("service", "start", check=False)
    assert code == 1 and "ended by itself with 2" in said and r"logs\agent.log says why" in said, f"{code} {said}"
    assert "cannot read the configuration" in bench.log(), bench.log()
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
    for name in ("agent.toml", "token", r"state\journal.sqlite", r"logs\agent.log"):
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
