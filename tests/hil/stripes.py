"""What hil.sh shows of the MSR605X, a HID device: /dev/hidraw0."""

from bench import MSR605X
from cases import TALKATIVE, case, expect, leaves_and_comes_back
from devices import ONE_WAY_REPORTS, Foreigner
from machine import until

STRIPES = "M605-0017"


def encodes_and_scans_a_stripe(pc, encoder, emulator):
    """One encode of a fresh card and one scan of it, through the coordinator; somebody draws the card through whenever asked to."""
    emulator.tell("place hico")
    written = pc.desk.succeeded(pc.desk.start_encode(encoder))
    assert f";{written['card_number']}?" in emulator.tell("tracks"), f"{written} is not on the card: {emulator.tell('tracks')}"
    scanned = pc.desk.succeeded(pc.desk.start_scan(encoder))["acs_credential_on_encoder"]
    expect(scanned["card_number"], written["card_number"], "the number of the card that was scanned")
    expect(scanned["is_issued"], True, "whether the scanned card carries a key")
    emulator.tell("remove")


def awaits_a_swipe(emulator):
    until("the encoder to wait for a swipe", lambda: emulator.tell("waits") == "yes")


@case
def a_stripe_encoder_replugged_while_idle(bench):
    """The MSR605X leaves and comes back, several times, and stays who it is."""
    with bench.desk_pc() as pc:
        emulator = pc.emulator("msr605x", "--no-card")
        reports = pc.hid_gadget(emulator.terminal, STRIPES)
        reports.plug()
        leaves_and_comes_back(pc, reports, MSR605X)
        encodes_and_scans_a_stripe(pc, pc.desk.encoder(MSR605X), emulator)


@case
def unplugged_while_a_swipe_is_awaited(bench):
    """The MSR605X is unplugged while it waits for the swipe that writes, for the one that shows what was written, and for that of
    a scan; plugged in again it serves the next job."""
    with bench.desk_pc() as pc:
        emulator = pc.emulator("msr605x", "--no-card")
        reports = pc.hid_gadget(emulator.terminal, STRIPES)
        reports.plug()
        encoder = pc.desk.encoder(MSR605X)

        def pulled(attempt, code):
            awaits_a_swipe(emulator)
            reports.unplug()
            error = pc.desk.failed(attempt, code)
            pc.desk.until_absent(encoder)
            reports.plug()
            expect(pc.desk.encoder(MSR605X)["acs_encoder_id"], encoder["acs_encoder_id"], "the encoder's id after a replug")
            return error

        error = pulled(pc.desk.start_encode(encoder), "encoding_interrupted")
        expect(error["touched"], "unknown", "what a job left behind that nobody swiped for")
        encodes_and_scans_a_stripe(pc, encoder, emulator)

        attempt = pc.desk.start_encode(encoder)
        awaits_a_swipe(emulator)
        emulator.tell("new guest hico")
        expect(emulator.tell("swipe guest"), "written", "what the first swipe does")
        error = pulled(attempt, "encoding_interrupted")
        expect(error["touched"], "unknown", "what a job left behind whose card was not seen again")
        encodes_and_scans_a_stripe(pc, encoder, emulator)

        pulled(pc.desk.start_scan(encoder), "encoder_not_online")
        encodes_and_scans_a_stripe(pc, encoder, emulator)


@case
def hid_devices_that_are_no_encoder(bench):
    """Of two devices with the MSR605X's id, one is another maker's, and one tells too little: neither is sent a report. The encoder
    beside them is found as hidraw2, and after a replug in another socket as hidraw0."""
    with Foreigner() as reader, Foreigner() as unknown, bench.desk_pc(TALKATIVE) as pc:
        strangers = [pc.hid_gadget(reader.terminal, name="reader", product="MagTek USB Swipe Reader"),
                     pc.hid_gadget(unknown.terminal, name="unknown", product="Reader", reports=ONE_WAY_REPORTS)]
        for number, stranger in enumerate(strangers):
            stranger.plug()
            pc.machine.wait_for(f"/dev/hidraw{number}")
        pc.until_logged("a device is left alone", times=2)
        emulator = pc.emulator("msr605x", "--no-card")
        reports = pc.hid_gadget(emulator.terminal, STRIPES)
        reports.plug()
        before = pc.desk.encoder()
        pc.machine.wait_for("/dev/hidraw2")
        encodes_and_scans_a_stripe(pc, before, emulator)
        for device in (reports, *strangers):
            device.unplug()
        pc.desk.until_absent(before)
        expect(reader.heard + unknown.heard, b"", "reports sent to devices that are no encoder")
        reports.plug(socket=3)
        expect(pc.desk.encoder()["acs_encoder_id"], before["acs_encoder_id"], "the encoder's id as hidraw0")
        pc.machine.wait_for("/dev/hidraw0")
        encodes_and_scans_a_stripe(pc, before, emulator)


@case
def without_the_rules(bench):
    """Without the rules a HID encoder is root's: the agent says what is missing, `devices` says what mends it, and once that is done
    the encoder is there without a restart."""
    with bench.desk_pc() as pc:
        pc.machine.run("mv /usr/lib/udev/rules.d/60-encoder-agent.rules /root && udevadm control --reload")
        emulator = pc.emulator("msr605x", "--no-card")
        reports = pc.hid_gadget(emulator.terminal, STRIPES)
        reports.plug()
        pc.until_logged("no permission to open")
        told = pc.machine.shell.ask("setpriv --reuid=daemon --regid=daemon --init-groups "
                                    "encoder-agent devices --config /etc/encoder-agent/agent.toml", 60)[1]
        assert "sudo cp systemd/60-encoder-agent.rules /etc/udev/rules.d/" in told, f"`devices` says\n{told}"
        pc.machine.run("mkdir -p /etc/udev/rules.d && cp /root/60-encoder-agent.rules /etc/udev/rules.d/ && "
                       "udevadm control --reload && udevadm trigger")
        encodes_and_scans_a_stripe(pc, pc.desk.encoder(MSR605X), emulator)
