"""What is plugged into the guest: QEMU's USB serial adapter (an FTDI chip), and gadgets that the guest's own kernel plays
behind its emulated USB host. Emulators on this machine, reached by a terminal each, say what the devices say."""

import os
import threading
import tty

from machine import until

# A vendor's own reports of 64 bytes: input (81), and feature (B1), as the MSR605X has them.
MSR605X_REPORTS = "06 00 ff 09 01 a1 01 15 00 26 ff 00 75 08 95 40 09 01 81 02 95 40 09 01 b1 02 c0"
# The same without a way in: not enough to tell what it is.
ONE_WAY_REPORTS = "06 00 ff 09 01 a1 01 15 00 26 ff 00 75 08 95 40 09 01 81 02 c0"
CONFIGFS = "/sys/kernel/config/usb_gadget"
# As many devices as the guest's emulated USB host has sockets for.
SOCKETS = 4


class Adapter:
    """A USB serial adapter with an FTDI chip. Without a serial number it has none that tells it from its like."""

    def __init__(self, machine, name, terminal, serial="", socket=None):
        self.machine, self.name, self.serial, self.socket = machine, name, serial, socket
        backend = {"type": "serial", "data": {"device": str(terminal)}}
        machine.monitor.ask("chardev-add", id=f"{name}-line", backend=backend)

    def plug(self, socket=None):
        where = {"port": str(socket or self.socket)} if socket or self.socket else {}
        self.machine.monitor.ask("device_add", driver="usb-serial", id=self.name, chardev=f"{self.name}-line", bus="xhci.0",
                                 serial=self.serial, always_plugged=True, **where)

    def unplug(self):
        self.machine.monitor.ask("device_del", id=self.name)


class Gadget:
    """A USB device that the guest's kernel plays; `function` is its kind. What it says comes through a virtio port."""

    def __init__(self, machine, name, terminal, usb_id, product, serial=""):
        self.machine, self.name = machine, name
        machine.run(f"""set -e
            modprobe dummy_hcd num={SOCKETS}
            modprobe --all libcomposite usb_f_acm usb_f_fs
            mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config""")
        self.socket = int(machine.run(f"ls {CONFIGFS} | wc -l"))
        self.path = f"{CONFIGFS}/{name}"
        self.port = f"/dev/virtio-ports/{name}"
        vendor, model = usb_id.split(":")
        machine.run(f"""set -e
            mkdir -p {self.path} && cd {self.path}
            mkdir -p strings/0x409 configs/c.1 functions/{self.function}
            echo 0x{vendor} > idVendor; echo 0x{model} > idProduct
            echo '{product}' > strings/0x409/product
            {f"echo '{serial}' > strings/0x409/serialnumber" if serial else ""}
            ln -s functions/{self.function} configs/c.1/""")
        machine.monitor.ask("chardev-add", id=f"{name}-line", backend={"type": "serial", "data": {"device": str(terminal)}})
        machine.monitor.ask("device_add", driver="virtserialport", id=f"{name}-port", bus="ports.0", chardev=f"{name}-line", name=name)
        machine.wait_for(self.port)

    def play(self, *command):
        """Starts the program that plays the device's side."""
        self.machine.run(f"systemd-run --quiet --collect --unit=play-{self.name} -p Type=exec {' '.join(map(str, command))}")

    def plug(self, socket=None):
        self.socket = self.socket if socket is None else socket
        self.machine.run(f"echo dummy_udc.{self.socket} > {self.path}/UDC")

    def unplug(self):
        self.machine.run(f"echo > {self.path}/UDC")


class SerialGadget(Gadget):
    """A serial port of its own (CDC-ACM): /dev/ttyACM*."""

    function = "acm.0"

    def plug(self, socket=None):
        super().plug(socket)
        number = self.machine.run(f"cat {self.path}/functions/{self.function}/port_num")
        self.play("/usr/local/bin/carry-line", self.port, f"/dev/ttyGS{number}")

    def unplug(self):
        super().unplug()
        self.machine.run(f"systemctl stop play-{self.name} || true")


class HidGadget(Gadget):
    """A HID device with reports of the vendor's own: /dev/hidraw*."""

    def __init__(self, machine, name, terminal, usb_id, product, serial="", reports=MSR605X_REPORTS):
        self.function = f"ffs.{name}"
        super().__init__(machine, name, terminal, usb_id, product, serial)
        folder = f"/run/{name}"
        machine.run(f"mkdir {folder} && mount -t functionfs {name} {folder}")
        self.play("/usr/local/bin/play-reports", self.port, folder, reports.replace(" ", ""))
        # It appears when the device is described.
        until("the HID device to be ready", lambda: machine.succeeds(f"[ -e {folder}/ep1 ]"), pause=0.1)

    def void_requests(self):
        """How often the program that plays it was told that a request is void, and went on."""
        return int(self.machine.run(f"journalctl --unit=play-{self.name} | grep --count 'is void' || true"))


class Foreigner:
    """A terminal behind which no encoder stands, from `with` on: `answer(bytes)` says what comes back for what was written.
    What was written is kept."""

    def __init__(self, answer=lambda _heard: b"", unasked=b""):
        self.answer, self.unasked, self.heard, self.ends = answer, unasked, b"", False

    def __enter__(self):
        self.master, self.slave = os.openpty()
        self.terminal = os.ttyname(self.slave)
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.thread = threading.Thread(target=self.speak, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends = True
        self.thread.join()
        os.close(self.master)
        os.close(self.slave)

    def speak(self):
        def turn():
            try:
                data = os.read(self.master, 4096)
            except BlockingIOError:
                data = b""
            self.heard += data
            out = (self.answer(data) if data else b"") + self.unasked
            try:
                os.write(self.master, out)
            except BlockingIOError:
                pass
            return self.ends

        until("the foreign device's end", turn, float("inf"), 0.02)
