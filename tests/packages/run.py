"""run.py PACKAGES NEWER CACHE: installs the packages of a folder, and the newer ones of another, in a Debian under systemd."""

import pathlib
import sys
import tempfile
import time
import traceback

from cases import CASES, Desk
from machine import Machine, debian


def say(line):
    print(line, flush=True)


def passes(case, desk):
    began = time.monotonic()
    try:
        case(desk)
    except Exception:
        say(f"FAILED {case.__name__}\n{traceback.format_exc()}")
        if desk.machine.process is not None and desk.machine.process.poll() is None:
            say(desk.machine.run("journalctl --no-pager --lines=60 --unit='encoder-*' --unit='bench-*' || true"))
        return False
    say(f"ok     {case.__name__} ({time.monotonic() - began:.1f} s)")
    return True


def main():
    packages, newer, cache = (pathlib.Path(argument) for argument in sys.argv[1:4])
    passed = 0
    with tempfile.TemporaryDirectory(prefix="packages-") as work, Machine(debian(cache), pathlib.Path(work)) as machine:
        machine.boot()
        desk = Desk(packages, newer, machine)
        for case in CASES:
            # Each case goes on from what the one before has left.
            if not passes(case, desk):
                break
            passed += 1
    say(f"passed {passed} failed {len(CASES) - passed}")
    return 0 if passed == len(CASES) else 1


if __name__ == "__main__":
    sys.exit(main())
