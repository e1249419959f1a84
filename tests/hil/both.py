"""What hil.sh shows of a desk with both kinds of encoders: a PN532 behind an FTDI adapter and an MSR605X."""

import contextlib

from bench import MSR605X
from cases import PROBE, SERIAL, case, encodes_and_scans, expect
from devices import Adapter
from machine import until
from stripes import STRIPES, encodes_and_scans_a_stripe


class BothKinds:
    """Both encoders, and the desk PC that they are not plugged into yet."""

    def __init__(self, pc):
        self.pc = pc
        self.pn532, self.msr605x = pc.emulator(), pc.emulator("msr605x", "--no-card")
        self.adapter = pc.adapter("ftdi", self.pn532.terminal, SERIAL)
        self.reports = pc.hid_gadget(self.msr605x.terminal, STRIPES)

    def plug(self):
        self.adapter.plug()
        self.reports.plug()

    def moved_to(self, machine):
        """The PN532's adapter in another machine, not plugged in there yet."""
        self.adapter = Adapter(machine, "ftdi", self.pn532.terminal, SERIAL)
        return self.adapter

    def found(self):
        """Both, as the coordinator knows them."""
        return self.pc.desk.encoder(SERIAL), self.pc.desk.encoder(MSR605X)

    def work(self):
        """Encodes and scans on each."""
        contactless, swiped = self.found()
        encodes_and_scans(self.pc, contactless, self.pn532)
        encodes_and_scans_a_stripe(self.pc, swiped, self.msr605x)


@contextlib.contextmanager
def both_kinds(bench, **options):
    with bench.desk_pc(PROBE, **options) as pc:
        yield BothKinds(pc)


def ids(encoders):
    return [encoder["acs_encoder_id"] for encoder in encoders]


@case
def found_without_configuration(bench):
    """With `probe = true` and nothing else both are found side by side, and encode and scan; also after the agent was restarted."""
    with both_kinds(bench) as both:
        both.pc.machine.watch_modem_lines()
        both.plug()
        contactless, swiped = before = both.found()
        expect(contactless["name"], "desk – PN532", "the PN532's name")
        assert swiped["name"].startswith("desk – MSR605"), f"the MSR605X's name: {swiped['name']}"
        lines = both.pc.machine.modem_lines()
        both.work()
        expect(both.pc.machine.modem_lines(), lines, "what the adapter was told to do with DTR and RTS when its encoder worked")
        both.pc.machine.run("systemctl restart encoder-agent")
        both.pc.until_logged("an encoder was found", times=4)
        expect(ids(both.found()), ids(before), "the encoders' ids after a restart")
        both.work()
        expect(len(both.pc.desk.events("acs_encoder.added")), 2, "events of added encoders")


@case
def booted_unplugged_and_plugged_later(bench):
    """The PC boots without any encoder: what the agent may open has to be known before anything of the kind was there."""
    with both_kinds(bench, boots=True) as both:
        pc = both.pc
        nodes = pc.machine.run("ls /dev/ttyUSB* /dev/ttyACM* /dev/hidraw* 2>/dev/null || true")
        expect(nodes, "", "devices before any is plugged in")
        expect(pc.desk.encoders(), [], "encoders before any is plugged in")
        both.plug()
        both.work()


def suspend(pc, gadget):
    """Suspends every device and resumes it after a second, USB too; the machine itself stays awake to do so."""
    # What plays the gadget sleeps longer than the kernel, whose questions about a device that lost its power it could not answer:
    # as on a PC that takes a device without power for unplugged, it leaves and comes back.
    pc.machine.run(f"for device in /sys/bus/usb/devices/*; do "
                   f"if [ \"$(cat $device/product 2>/dev/null)\" = {gadget} ]; then echo 0 > $device/power/persist; fi; done")
    pc.machine.run("echo devices > /sys/power/pm_test && echo freeze > /sys/power/state")
    messages = pc.machine.run("dmesg")
    assert "PM: suspend exit" in messages, f"the machine was not suspended:\n{messages}"


@case
def suspended(bench):
    """The PC is suspended and resumed, USB with it, while both are plugged in."""
    with both_kinds(bench) as both:
        both.plug()
        before = both.found()
        both.msr605x.tell("place hico")
        suspend(both.pc, "MSR605X")
        for encoder in before:
            # Its device may have left and come back with the rest of USB.
            until("a scan after the suspend",
                  lambda: both.pc.desk.ended(both.pc.desk.start_scan(encoder))["status"] == "success")
        both.work()
        expect(ids(both.found()), ids(before), "the encoders' ids after a suspend")


@case
def pulled_at_once(bench):
    """Both are pulled out again while the agent is still opening them, time and again; then they stay, and work."""
    with both_kinds(bench) as both:
        nodes = (both.adapter, "/dev/ttyUSB0"), (both.reports, "/dev/hidraw0")
        for _ in range(5):
            for device, node in nodes:
                device.plug()
                both.pc.machine.wait_for(node)
                device.unplug()
                both.pc.machine.wait_for(node, there=False)
        both.plug()
        both.work()
        expect(len(both.pc.desk.encoders()), 2, "encoders that the coordinator knows")
