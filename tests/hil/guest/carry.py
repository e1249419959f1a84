#!/usr/bin/python3
"""carry.py PORT DEVICE [REPORT_SIZE]: carries bytes between a virtio port, behind which an emulator on the host stands, and
the device side of a USB gadget: a serial line, or reports of one size. Ends when the gadget's host has gone."""

import os
import select
import subprocess
import sys

CHUNK = 4096


def write_all(file, data):
    while data:
        data = data[os.write(file, data):]


def main(port, device, report_size=0):
    port = os.open(port, os.O_RDWR)
    device_path, device = device, os.open(device, os.O_RDWR | os.O_NOCTTY)
    if not report_size:
        subprocess.run(["stty", "-F", device_path, "raw", "-echo"], check=True)
    print("carrying", flush=True)
    pending = b""
    while True:
        ready, _, _ = select.select([port, device], [], [])
        if device in ready:
            data = os.read(device, report_size or CHUNK)
            if not data:
                return
            write_all(port, data)
        if port in ready:
            pending += os.read(port, CHUNK)
            size = report_size or len(pending)
            while pending and len(pending) >= size:
                write_all(device, pending[:size])
                pending = pending[size:]


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    except OSError as error:
        sys.exit(f"carry.py: {error}")
