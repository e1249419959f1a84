"""run.py [PROGRAMS] [--case NAME]… [--jobs N] [--image] [--list]: runs the cases of hil.sh with the programs built in a directory."""

import argparse
import concurrent.futures
import multiprocessing
import os
import pathlib
import signal
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
import lasting
import rules
import times  # the cases of these stand in the order in which they are imported


def say(line):
    print(line, flush=True)


def boot_and_save(image):
    """Boots a new image once and saves its memory."""
    with tempfile.TemporaryDirectory(prefix="hil-") as work:
        parcel = pathlib.Path(work) / "parcel"
        parcel.touch()
        with Machine(image, pathlib.Path(work), parcel, boots=True) as machine:
            # Ends with an error, and what failed, where the machine has not come up whole.
            machine.run("systemctl is-system-running --wait || { systemctl list-units --failed --no-pager; exit 1; }", BOOT_PATIENCE)
            machine.save()


def image_in_cache():
    began = time.monotonic()
    image = ready_image(boot_and_save, lambda what: say(f"[{time.monotonic() - began:.0f} s] {what}"))
    say(f"the virtual machine was ready within {time.monotonic() - began:.0f} s")
    return image


def seconds(case, bench):
    """How long a case took, if it passed."""
    began = time.monotonic()
    try:
        case(bench)
    except Exception:
        say(f"FAILED {case.__name__}\n{traceback.format_exc()}")
        return None
    except KeyboardInterrupt:
        # What is left of the machine is gone by now; no further case may begin here.
        os._exit(130)
    taken = time.monotonic() - began
    say(f"ok     {case.__name__} ({taken:.1f} s)")
    return taken


def run_all(cases, bench, jobs):
    """Runs cases, so many at a time; those that take times come last and alone."""
    alone = [case for case in cases if case.is_alone]
    others = [case for case in cases if not case.is_alone]
    # Each in a process of its own, so that all end together when they are stopped.
    with concurrent.futures.ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        taken = list(pool.map(seconds, others, [bench] * len(others)))
    return taken + [seconds(case, bench) for case in alone]


def ended(*_):
    """Stops what runs, so that no machine is left behind."""
    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGTERM)
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(prog="hil.sh")
    parser.add_argument("programs", type=pathlib.Path, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--image", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--case", action="append", metavar="NAME", choices=[case.__name__ for case in CASES],
                        help="run this case only; may be given several times")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="how many cases to run at a time (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="list the cases")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, ended)

    if arguments.list:
        for case in CASES:
            say(f"{case.__name__}: {case.__doc__}")
        return 0
    image = image_in_cache()
    if arguments.image:
        return 0
    chosen = [case for case in CASES if not arguments.case or case.__name__ in arguments.case]
    began = time.monotonic()
    taken = run_all(chosen, Bench(arguments.programs, image, say), arguments.jobs)
    passed = sum(each is not None for each in taken)
    say(f"the cases took {time.monotonic() - began:.0f} s")
    say(f"passed {passed} failed {len(chosen) - passed}")
    return 0 if passed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
