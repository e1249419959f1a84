"""How long it takes from plugging in to an encoder that takes jobs, from unplugging to the coordinator's knowing of it, and from
cancelling a job to an encoder that waits no more. Told, not judged: the machine is emulated in software."""

import datetime
import statistics
import time

from bench import MSR605X
from cases import SERIAL, alone, case, pn532_adapter
from machine import until
from stripes import STRIPES, awaits_a_swipe

ROUNDS = 20


def since(encoder):
    return datetime.datetime.fromisoformat(encoder["since"]).timestamp()


def take(pc, device, node, key):
    """Plugs and unplugs once: the seconds from the plugging and from the node's readiness until the encoder is there, and those
    from the unplugging until it is gone."""
    plugged = time.time()
    device.plug()
    encoder = pc.desk.encoder(key)
    ready = since(encoder)
    # Both by the guest's clock: when udev was done with the node, and when the agent had opened and asked it.
    usable, found = (float(moment) for moment in pc.machine.run(
        f"stat --format=%.6Z {node}; journalctl --unit=encoder-agent --output=short-unix --lines=20 | grep 'an encoder was found' | "
        "tail -n 1 | cut -d ' ' -f 1").split())
    unplugged = time.time()
    device.unplug()
    pc.desk.until_absent(encoder)
    gone = next(since(other) for other in pc.desk.encoders() if other["acs_encoder_id"] == encoder["acs_encoder_id"])
    return ready - plugged, found - usable, gone - unplugged


def report(bench, what, rounds):
    plugs, nodes, unplugs = (sorted(column) for column in zip(*rounds))
    median, worst = statistics.median, max
    bench.say(f"       {what}, median of {len(rounds)} (worst): plug to encoder {median(plugs):.2f} s ({worst(plugs):.2f}), "
              f"node to encoder {median(nodes):.2f} s ({worst(nodes):.2f}), unplug to report {median(unplugs):.2f} s ({worst(unplugs):.2f})")


def take_cancel(pc, encoder, emulator):
    """Cancels an encode that awaits its swipe: the seconds until the encoder waits no more."""
    credential = pc.desk.credential()
    attempt = pc.desk.start_encode(encoder, credential)
    awaits_a_swipe(emulator)
    began = time.monotonic()
    pc.desk.delete(credential)
    until("the encoder to wait no more", lambda: emulator.tell("waits") == "no", pause=0.005)
    rests = time.monotonic() - began
    pc.desk.failed(attempt, "credential_deleted")
    return rests


@case
@alone
def plug_and_unplug_times(bench):
    """Twenty plugs and unplugs of each kind, timed."""
    with pn532_adapter(bench) as (pc, _, adapter):
        report(bench, "PN532 behind FTDI", [take(pc, adapter, "/dev/ttyUSB0", SERIAL) for _ in range(ROUNDS)])
        reports = pc.hid_gadget(pc.emulator("msr605x").terminal, STRIPES)
        report(bench, "MSR605X over HID", [take(pc, reports, "/dev/hidraw0", MSR605X) for _ in range(ROUNDS)])
        bench.say(f"       gadget: {reports.void_requests()} requests of {ROUNDS} pluggings were void")


@case
@alone
def cancel_times(bench):
    """Twenty encodes cancelled while the MSR605X awaits a swipe, timed."""
    with bench.desk_pc() as pc:
        emulator = pc.emulator("msr605x", "--no-card")
        pc.hid_gadget(emulator.terminal, STRIPES).plug()
        encoder = pc.desk.encoder(MSR605X)
        rests = sorted(take_cancel(pc, encoder, emulator) for _ in range(ROUNDS))
        bench.say(f"       MSR605X over HID, median of {len(rests)} (worst): cancel to an encoder that waits no more "
                  f"{statistics.median(rests):.2f} s ({rests[-1]:.2f})")
