"""What hil.sh shows, case by case: each gets a bench, and fails by raising."""

import contextlib
import itertools

from devices import Foreigner
from machine import until

PROBE = "[discovery]\nprobe = true\n"
TALKATIVE = '[log]\nlevel = "debug"\n'
SERIAL = "A9XK01"
CASES = []


def case(run):
    """Marks a case; they begin in the order in which they stand."""
    run.is_alone = False
    CASES.append(run)
    return run


def alone(run):
    """Marks a case that nothing may run beside, since it takes times."""
    run.is_alone = True
    return run


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: expected {wanted!r}, found {found!r}")


uids = (f"ca4d{number:04x}" for number in itertools.count(1))


def encodes_and_scans(pc, encoder, emulator):
    """One encode of a fresh card and one scan of it, through the coordinator."""
    uid = next(uids)
    emulator.tell(f"swap classic-1k uid {uid}")
    written = pc.desk.succeeded(pc.desk.start_encode(encoder))
    expect(written["card_number"], uid, "the number of the card that was encoded")
    scanned = pc.desk.succeeded(pc.desk.start_scan(encoder))
    expect(scanned["acs_credential_on_encoder"]["card_number"], uid, "the number of the card that was scanned")
    expect(scanned["acs_credential_on_encoder"]["is_issued"], True, "whether the scanned card carries a key")


def leaves_and_comes_back(pc, device, key, times=3):
    """Unplugs and plugs what is there, and expects the same encoder every time."""
    before = pc.desk.encoder(key)
    for _ in range(times):
        device.unplug()
        pc.desk.until_absent(before)
        pc.desk.failed(pc.desk.start_scan(before), "encoder_not_online")
        device.plug()
        expect(pc.desk.encoder(key)["acs_encoder_id"], before["acs_encoder_id"], "the encoder's id after a replug")


def in_slow_motion(emulator, responses=400, milliseconds=100):
    """Lets every response of an emulated PN532 come late."""
    for number in range(1, responses + 1):
        emulator.tell(f"fault delay-response {number} {milliseconds}")


def writes(emulator):
    return int(emulator.tell("stats").split("card_writes ")[1])


@contextlib.contextmanager
def pn532_adapter(bench, settings=PROBE, **options):
    """A desk PC with an emulated PN532 behind an adapter that is not plugged in yet."""
    with bench.desk_pc(settings, **options) as pc:
        emulator = pc.emulator()
        yield pc, emulator, pc.adapter("ftdi", emulator.terminal, SERIAL)


@case
def nothing_is_asked_that_only_may_be_an_encoder(bench):
    """Without `probe` not one byte goes to an FTDI adapter, plugged in or there at the start, and its DTR and RTS stay still; with
    it, it is asked."""
    with Foreigner() as foreign, bench.desk_pc(TALKATIVE) as pc:
        pc.machine.watch_modem_lines()
        pc.adapter("ftdi", foreign.terminal, SERIAL).plug()
        pc.until_logged("a device is left alone", times=1)
        pc.reconfigure(TALKATIVE)
        pc.until_logged("a device is left alone", times=2)
        expect(foreign.heard, b"", "bytes sent to a device that only may be an encoder")
        expect(pc.machine.modem_lines(), [], "what that device was told to do with DTR and RTS")
        pc.reconfigure(PROBE)
        until("the device to be asked", lambda: foreign.heard)
        # The kernel raises both when the port is opened.
        until("DTR and RTS to be raised", pc.machine.modem_lines)


@case
def replugged_while_idle(bench):
    """The encoder leaves and comes back, several times, and stays who it is; a job for it meanwhile is refused."""
    with pn532_adapter(bench) as (pc, emulator, adapter):
        adapter.plug()
        leaves_and_comes_back(pc, adapter, SERIAL)
        encodes_and_scans(pc, pc.desk.encoder(SERIAL), emulator)
        expect(len(pc.desk.events("acs_encoder.added")), 1, "events of added encoders")


@case
def unplugged_while_writing(bench):
    """A PN532 is unplugged in the middle of a write; plugged in again it serves the next job."""
    with pn532_adapter(bench) as (pc, emulator, adapter):
        adapter.plug()
        encoder = pc.desk.encoder(SERIAL)
        in_slow_motion(emulator)
        attempt = pc.desk.start_encode(encoder)
        until("the first write to the card", lambda: writes(emulator) > 0)
        adapter.unplug()
        error = pc.desk.failed(attempt, "encoding_interrupted", "encoder_communication_timeout")
        expect(error["touched"], "unknown", "what the interrupted job left behind")
        pc.desk.until_absent(encoder)
        emulator.tell("fault none")
        adapter.plug()
        expect(pc.desk.encoder(SERIAL)["acs_encoder_id"], encoder["acs_encoder_id"], "the encoder's id after a replug")
        encodes_and_scans(pc, encoder, emulator)


@case
def renumbered(bench):
    """An adapter that was ttyUSB0 comes back as ttyUSB1, in another socket, and is the same encoder."""
    with Foreigner() as foreign, pn532_adapter(bench) as (pc, emulator, adapter):
        adapter.plug(socket=1)
        before = pc.desk.encoder(SERIAL)
        adapter.unplug()
        pc.desk.until_absent(before)
        pc.adapter("other", foreign.terminal, "OTHER1").plug(socket=1)
        pc.machine.wait_for("/dev/ttyUSB0")
        adapter.plug(socket=2)
        pc.machine.wait_for("/dev/ttyUSB1")
        after = pc.desk.encoder(SERIAL)
        expect(after["acs_encoder_id"], before["acs_encoder_id"], "the encoder's id as ttyUSB1")
        encodes_and_scans(pc, after, emulator)


@case
def two_adapters_without_serial_numbers(bench):
    """Two adapters that differ in nothing are told apart by their sockets, whichever is plugged in first."""
    with bench.desk_pc(PROBE) as pc:
        emulators = [pc.emulator(), pc.emulator()]
        adapters = [pc.adapter(f"ftdi{number}", emulator.terminal) for number, emulator in enumerate(emulators)]
        ids = []
        for socket, adapter in enumerate(adapters, 1):
            adapter.plug(socket=socket)
            present = until("one more encoder", lambda: len(found := pc.desk.present()) == socket and found)
            ids += [encoder for encoder in present if encoder["acs_encoder_id"] not in [known["acs_encoder_id"] for known in ids]]
        for adapter in adapters:
            adapter.unplug()
        until("both encoders to be gone", lambda: not pc.desk.present())
        for socket, adapter in reversed(list(enumerate(adapters, 1))):
            adapter.plug(socket=socket)
        until("both encoders to be back", lambda: len(pc.desk.present()) == 2)
        for encoder, emulator in zip(ids, emulators):
            encodes_and_scans(pc, encoder, emulator)
        expect(len(pc.desk.encoders()), 2, "encoders that the coordinator knows")


@case
def two_adapters_with_one_serial_number(bench):
    """Two adapters bear the same serial number: neither is taken for the other, and the log says so."""
    with bench.desk_pc(PROBE) as pc:
        emulators = [pc.emulator(), pc.emulator()]
        for socket, emulator in enumerate(emulators, 1):
            pc.adapter(f"ftdi{socket}", emulator.terminal, "TWICE1").plug(socket=socket)
        present = until("both encoders", lambda: len(found := pc.desk.present()) == 2 and found)
        pc.until_logged("bear the same serial number")
        expect(len({encoder["acs_encoder_id"] for encoder in present}), 2, "ids of two encoders")


@case
def a_held_port(bench):
    """Another program holds the port: the agent says so, and takes the encoder once it is let go."""
    with pn532_adapter(bench) as (pc, emulator, adapter):
        pc.machine.run("systemctl stop encoder-agent")
        adapter.plug()
        pc.machine.wait_for("/dev/ttyUSB0")
        # As terminal programs hold a port: opened, and claimed for exclusive use (TIOCEXCL).
        pc.machine.run("systemd-run --quiet --collect --unit=holder -p Type=exec -p User=daemon -p Group=dialout python3 -c "
                       "'import fcntl, time; port = open(\"/dev/ttyUSB0\"); fcntl.ioctl(port, 0x540C); time.sleep(600)'")
        pc.machine.run("systemctl start encoder-agent")
        pc.until_logged("in use")
        expect(pc.desk.present(), [], "encoders while another program holds the port")
        pc.machine.run("systemctl stop holder")
        encodes_and_scans(pc, pc.desk.encoder(SERIAL), emulator)


@case
def one_prober_per_port(bench):
    """An encoder and a silent device, listed by another name of their ports while `probe` is on: however often udev tells of them,
    no port is opened twice at a time, for the second would find it in use, as it does in `a_held_port`."""
    with Foreigner() as silent, pn532_adapter(bench) as (pc, emulator, adapter):
        pc.machine.run("systemctl stop encoder-agent")
        for number, each in enumerate((adapter, pc.adapter("silent", silent.terminal, "SILENT1"))):
            each.plug()
            pc.machine.wait_for(f"/dev/ttyUSB{number}")
        names = pc.machine.run("ls -d /dev/serial/by-id/*").splitlines()
        expect(len(names), 2, "other names of ports")
        pc.reconfigure(PROBE + TALKATIVE + "".join(f'[[encoder]]\nname = "{name}"\ndriver = "pn532"\nport = "{name}"\n' for name in names))
        until("the silent device to be asked", lambda: silent.heard)
        for _ in range(10):
            pc.machine.run("udevadm trigger --settle --action=add --subsystem-match=tty")
        encoder = until("the encoder", lambda: next((found for found in pc.desk.present() if SERIAL in found["name"]), None))
        encodes_and_scans(pc, encoder, emulator)
        assert "in use" not in pc.journal(), f"a port was opened twice:\n{pc.journal()}"


@case
def devices_that_are_no_encoder(bench):
    """One adapter is silent, one babbles, one answers like a magstripe encoder; the encoder beside them works."""
    magstripe = {b"\x1be": b"\x1by", b"\x1bt": b"\x1b3S"}
    with (Foreigner() as silent, Foreigner(unasked=b"\x00\xff\x55garbage\x00\x00\xff") as babbling,
          Foreigner(answer=lambda heard: magstripe.get(heard[-2:], b"\x1bA")) as other,
          pn532_adapter(bench) as (pc, emulator, adapter)):
        for number, foreign in enumerate((silent, babbling, other)):
            pc.adapter(f"foreign{number}", foreign.terminal, f"FOREIGN{number}").plug()
            pc.machine.wait_for(f"/dev/ttyUSB{number}")
        adapter.plug()
        encodes_and_scans(pc, pc.desk.encoder(SERIAL), emulator)
        until("every foreign device to be asked", lambda: silent.heard and babbling.heard and other.heard)
        keys = [encoder["key"] for encoder in pc.desk.encoders()]
        expect([key for key in keys if "FOREIGN" in key], [], "foreign devices among the encoders")


@case
def a_serial_port_of_its_own(bench):
    """A PN532 that is a serial port itself (CDC-ACM, /dev/ttyACM0) and that no driver knows is left alone until it is named."""
    with bench.desk_pc(PROBE) as pc:
        emulator = pc.emulator()
        gadget = pc.serial_gadget(emulator.terminal)
        gadget.plug()
        pc.machine.wait_for("/dev/ttyACM0")
        expect(emulator.bytes_in(), 0, "bytes sent to a device that no driver knows")
        pc.reconfigure('[[encoder]]\nname = "Front Desk"\ndriver = "pn532"\nport = "/dev/ttyACM0"\n')
        encoder = pc.desk.encoder()
        pc.until_logged("the encoder is ready")
        encodes_and_scans(pc, encoder, emulator)
        gadget.unplug()
        pc.desk.failed(pc.desk.start_scan(encoder), "encoder_not_online")
        gadget.plug()
        pc.until_logged("the encoder is ready", times=2)
        encodes_and_scans(pc, encoder, emulator)


@case
def one_agent_on_one_pc(bench):
    """A second agent beside the service says so and stops."""
    with bench.desk_pc() as pc:
        second = "ENCODER_AGENT__STATE_DIR=/var/lib/encoder-agent encoder-agent run --config /etc/encoder-agent/agent.toml"
        code, told = pc.machine.shell.ask(second, 60)
        assert code != 0 and "another encoder-agent" in told, f"a second agent ended with {code}:\n{told}"
