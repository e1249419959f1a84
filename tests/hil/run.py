"""run.py PROGRAMS [--case NAME]… [--list]: runs the cases of hil.sh with the programs built in a directory."""

import argparse
import pathlib
import sys
import tempfile
import time
import traceback

from bench import Bench
from cases import CASES
from image import ready_image
from machine import BOOT_PATIENCE, Machine
import stripes
import both
import rules
import times  # the cases of these stand in the order in which they are imported


def boot_and_save(image):
    """Boots a new image once and saves its memory."""
    with tempfile.TemporaryDirectory(prefix="hil-") as work:
        parcel = pathlib.Path(work) / "parcel"
        parcel.touch()
        with Machine(image, pathlib.Path(work), parcel, boots=True) as machine:
            # Ends with an error, and what failed, where the machine has not come up whole.
            machine.run("systemctl is-system-running --wait || { systemctl list-units --failed --no-pager; exit 1; }", BOOT_PATIENCE)
            machine.save()


def passes(case, bench, say):
    began = time.monotonic()
    try:
        case(bench)
    except Exception:
        say(f"FAILED {case.__name__}\n{traceback.format_exc()}")
        return False
    say(f"ok     {case.__name__} ({time.monotonic() - began:.1f} s)")
    return True


def main():
    parser = argparse.ArgumentParser(prog="hil.sh")
    parser.add_argument("programs", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--case", action="append", metavar="NAME", choices=[case.__name__ for case in CASES],
                        help="run this case only; may be given several times")
    parser.add_argument("--list", action="store_true", help="list the cases")
    arguments = parser.parse_args()

    def say(line):
        print(line, flush=True)

    if arguments.list:
        for case in CASES:
            say(f"{case.__name__}: {case.__doc__}")
        return 0
    began = time.monotonic()
    image = ready_image(boot_and_save, lambda what: say(f"[{time.monotonic() - began:.0f} s] {what}"))
    bench = Bench(arguments.programs, image, say)
    chosen = [case for case in CASES if not arguments.case or case.__name__ in arguments.case]
    passed = sum(passes(case, bench, say) for case in chosen)
    say(f"passed {passed} failed {len(chosen) - passed}")
    return 0 if passed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
