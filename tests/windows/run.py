"""run.py FOLDER PROFILE DIST PROGRAMS [--without CASE]… | --build-only FOLDER PROFILE DIST | --list

Builds the agent for Windows in FOLDER, packs it into DIST, and tries it under wine; PROGRAMS are those of this machine.
"""

import argparse
import pathlib
import sys
import tempfile
import time
import traceback

from bench import Bench
from cases import CASES, build
from wine import Wine


def say(line):
    print(line, flush=True)


def passes(case, bench):
    began = time.monotonic()
    try:
        case(bench)
    except Exception:
        say(f"FAILED {case.__name__}\n{traceback.format_exc()}")
        if log := bench.log():
            say(f"the service's log ends with:\n{log[-4000:]}")
        return False
    say(f"ok     {case.__name__} ({time.monotonic() - began:.1f} s)")
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?")
    parser.add_argument("profile", nargs="?")
    parser.add_argument("dist", nargs="?", type=pathlib.Path)
    parser.add_argument("programs", nargs="?")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--without", action="append", default=[], metavar="CASE", help="leave a case out that no other goes on from")
    words = parser.parse_args()
    if words.list:
        for case in CASES:
            say(case.__name__)
        return 0
    windows = pathlib.Path(words.folder).absolute()
    if words.build_only:
        archive = build(Bench(None, windows, words.profile, words.dist, None))
        say(str(archive))
        return 0
    cases = [case for case in CASES if case.__name__ not in words.without]
    passed = 0
    with tempfile.TemporaryDirectory(prefix="windows-") as work:
        folder = pathlib.Path(work)
        bench = Bench(folder, windows, words.profile, words.dist, pathlib.Path(words.programs).absolute())
        with Wine(folder) as bench.wine:
            try:
                bench.power_up()
                for case in cases:
                    # Each case goes on from what the one before has left.
                    if not passes(case, bench):
                        break
                    passed += 1
            finally:
                bench.power_down()
    say(f"passed {passed} failed {len(cases) - passed}")
    return 0 if passed == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
