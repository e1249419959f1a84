"""What hil.sh shows of the rules in systemd/: what udev has made of a device once it is there."""

from bench import MSR605X, UNKNOWN
from cases import SERIAL, case, expect, pn532_adapter
from machine import until
from stripes import STRIPES

# As brltty's own rules take an adapter with this chip for a braille display, and start its service for it.
BRLTTY = """cat > /usr/lib/udev/rules.d/85-brltty.rules <<'END'
ACTION=="add", SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device", ENV{PRODUCT}=="403/6001/*", ENV{BRLTTY_BRAILLE_DRIVER}="al", \
  TAG+="systemd", ENV{SYSTEMD_WANTS}+="brltty-device@.service"
END
cat > /etc/systemd/system/brltty-device@.service <<'END'
[Service]
ExecStart=/bin/touch /run/taken-by-brltty
END
systemctl daemon-reload; udevadm control --reload"""
TAKEN = "/run/taken-by-brltty"


def properties(pc, query):
    lines = pc.machine.run(f"udevadm info --query=property {query}").splitlines()
    return dict(line.split("=", 1) for line in lines)


def usb_device(pc, node):
    """The USB device that a node belongs to."""
    return pc.machine.run(f"cd -P /sys/class/*/{node}/device; until [ -e idVendor ]; do cd ..; done; pwd")


@case
def the_rules_take_effect(bench):
    """Group and mode of both encoders' nodes, the FTDI chip's latency, and ModemManager kept off; another HID device stays root's."""
    with pn532_adapter(bench) as (pc, _, adapter):
        reports = pc.hid_gadget(pc.emulator("msr605x").terminal, STRIPES)
        other = pc.hid_gadget(pc.emulator("msr605x").terminal, name="other", product="Scales", usb_id=UNKNOWN)
        adapter.plug()
        reports.plug()
        pc.desk.encoder(SERIAL), pc.desk.encoder(MSR605X)
        other.plug()
        pc.machine.wait_for("/dev/hidraw1")
        for node, expected in (("ttyUSB0", "root dialout 660"), ("hidraw0", "root dialout 660"), ("hidraw1", "root root 600")):
            expect(pc.machine.run(f"stat --format='%U %G %a' /dev/{node}"), expected, f"owner, group and mode of {node}")
        until("the latency timer of 1 ms",
              lambda: pc.machine.run("cat /sys/bus/usb-serial/devices/ttyUSB0/latency_timer") == "1", pause=0.2)
        expect(properties(pc, "--name=/dev/ttyUSB0").get("ID_MM_PORT_IGNORE"), "1", "the port's ID_MM_PORT_IGNORE")
        for query in ("--name=/dev/ttyUSB0", f"--path={usb_device(pc, 'ttyUSB0')}"):
            expect(properties(pc, query).get("ID_MM_DEVICE_IGNORE"), "1", f"ID_MM_DEVICE_IGNORE of {query}")


@case
def brltty_is_kept_off(bench):
    """What brltty's rules want of an adapter is taken back; without the rule it would have it."""
    with pn532_adapter(bench) as (pc, _, adapter):
        pc.machine.run(BRLTTY)
        adapter.plug()
        pc.desk.encoder(SERIAL)
        found = properties(pc, f"--path={usb_device(pc, 'ttyUSB0')}")
        expect({name: found.get(name, "") for name in ("BRLTTY_BRAILLE_DRIVER", "SYSTEMD_WANTS")},
               {"BRLTTY_BRAILLE_DRIVER": "", "SYSTEMD_WANTS": ""}, "what brltty was told of the adapter")
        expect(pc.machine.succeeds(f"[ -e {TAKEN} ]"), False, "whether brltty was started")
        adapter.unplug()
        pc.machine.run("rm /usr/lib/udev/rules.d/91-encoder-agent-brltty.rules && udevadm control --reload")
        adapter.plug()
        until("brltty to be started without the rule", lambda: pc.machine.succeeds(f"[ -e {TAKEN} ]"), pause=0.2)
