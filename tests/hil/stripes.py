"""What hil.sh shows of the MSR605X, a HID device: /dev/hidraw0."""

from bench import MSR605X
from cases import SERIAL, case, encodes_and_scans, expect, leaves_and_comes_back, pn532_adapter

STRIPES = "M605-0017"


@case
def both_are_found_without_configuration(bench):
    """A PN532 behind an FTDI adapter (probe = true) and an MSR605X are found side by side."""
    with pn532_adapter(bench) as (pc, emulator, adapter):
        reports = pc.hid_gadget(pc.emulator("msr605x").terminal, STRIPES)
        adapter.plug()
        reports.plug()
        pn532, msr = pc.desk.encoder(SERIAL), pc.desk.encoder(MSR605X)
        expect(pn532["name"], "desk – PN532", "the PN532's name")
        encodes_and_scans(pc, pn532, emulator)
        assert msr["name"].startswith("desk – MSR605"), f"the MSR605X's name: {msr['name']}"
        expect(len(pc.desk.events("acs_encoder.added")), 2, "events of added encoders")


@case
def a_stripe_encoder_replugged_while_idle(bench):
    """The MSR605X leaves and comes back, several times, and stays who it is."""
    with bench.desk_pc() as pc:
        reports = pc.hid_gadget(pc.emulator("msr605x").terminal, STRIPES)
        reports.plug()
        leaves_and_comes_back(pc, reports, MSR605X)
