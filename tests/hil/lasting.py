"""What hil.sh shows of encoders that stay who they are, whatever happens to the desk PC."""

from both import BothKinds, ids
from cases import SERIAL, case, expect
from stripes import STRIPES

# Without `probe`: who is listed may be asked.
NAMED = "".join(f'[[encoder]]\nname = "{name}"\ndriver = "{driver}"\nkey = "usb:{key}"\n' for name, driver, key in (
    ("Front Desk", "pn532", f"0403:6001:{SERIAL}"), ("Concierge", "msr605", f"0801:0003:{STRIPES}")))


@case
def listed_by_key(bench):
    """Encoders listed by `key`, without `probe`, keep name and id in other sockets, when the agent's program is replaced while it
    runs, and through a reboot of the PC, at which one of them is plugged in from the start."""
    with bench.desk_pc(NAMED) as pc:
        both = BothKinds(pc)
        both.adapter.plug(socket=1)
        both.reports.plug()
        before = both.found()
        expect([encoder["name"] for encoder in before], ["Front Desk", "Concierge"], "the encoders' names")

        both.adapter.unplug()
        both.reports.unplug()
        for encoder in before:
            pc.desk.until_absent(encoder)
        both.adapter.plug(socket=2)
        both.reports.plug(socket=2)
        expect(ids(both.found()), ids(before), "the encoders' ids in other sockets")

        pc.replace_agent()
        pc.until_logged("an encoder was found", times=6)
        expect(ids(both.found()), ids(before), "the encoders' ids after the agent was replaced")
        both.work()

        pc.reboot(lambda machine: both.moved_to(machine).plug(socket=3))
        both.reports = pc.hid_gadget(both.msr605x.terminal, STRIPES)
        both.reports.plug()
        pc.until_logged("an encoder was found", times=2)
        expect(ids(both.found()), ids(before), "the encoders' ids after a reboot")
        expect([encoder["name"] for encoder in both.found()], ["Front Desk", "Concierge"], "the encoders' names after a reboot")
        both.work()
        expect(len(pc.desk.encoders()), 2, "encoders that the coordinator knows")
        expect(len(pc.desk.events("acs_encoder.added")), 2, "events of added encoders")
