"""Runs every suite, each on a desk of its own, and checks that every code block of the guides was a case.

Arguments: the folder of the programs, Node, the entry file of npm's `seam`. Ends with one line `N passed, M failed`.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
import traceback

from blocks import BLOCKS, JAVASCRIPT, PYTHON, uncovered
from cases import Cases
from checker import TALLY, Checker
from desk import Desk
from guides import Guides
from key_servers import KeyServers
from simulated import Simulated

HERE = pathlib.Path(__file__).parent


class Tally:
    """What passed and what failed, printed as it comes."""

    def __init__(self):
        self.passed = set()
        self.failed = 0

    def ok(self, language, name, seconds):
        self.passed.add((language, name))
        print(f"ok   {language} {name} ({seconds} s)", flush=True)

    def fail(self, language, name, reason):
        self.failed += 1
        print(f"FAIL {language} {name}\n{reason}", flush=True)


def python_suite(suite):
    """Runs the cases of a class."""

    def run(desk, tally):
        cases = suite(desk)
        for name, step in vars(suite).items():
            if not getattr(step, "is_case", False):
                continue
            began = time.monotonic()
            try:
                step(cases)
            except Exception:
                tally.fail(PYTHON, name, traceback.format_exc())
            else:
                tally.ok(PYTHON, name, f"{time.monotonic() - began:.1f}")

    return run


def javascript_suite(node, sdk):
    """Runs the cases of npm's `seam`."""

    def run(desk, tally):
        other = desk.second_workspace()
        own = desk.workspace()
        gym = desk.gym(["ABCD1234"])
        play = desk.command("system", "create", "--name", "Play", "--workspace", own)["acs_system_id"]
        world = desk.seed | {
            "control": str(desk.emulator.control),
            "gym_entrance_id": gym["acs_entrance_id"],
            "registered_card": "ABCD1234",
            "simulated_system_id": play,
            "simulated_encoder_id": desk.simulated_encoder(play),
            "workspace_ids": [own, other["workspace_id"]],
            "other_system_id": other["acs_system_id"],
            "personal_access_token": desk.token([own, other["workspace_id"]]),
        }
        command = [node, HERE / "javascript" / "cases.mjs", sdk, json.dumps(world)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            ran = 0
            for line in process.stdout:
                word, name, rest = line.rstrip("\n").split(" ", 2)
                ran += 1
                if word == "ok":
                    tally.ok(JAVASCRIPT, name, rest)
                else:
                    tally.fail(JAVASCRIPT, name, rest.replace("\\n", "\n"))
        if process.returncode != 0 or ran == 0:
            tally.fail(JAVASCRIPT, "the_suite_ends", f"it ended with {process.returncode} after {ran} cases")

    return run


def run_on_a_desk(programs, suite, tally):
    """Runs one suite on a desk of its own; where something failed, shows what the programs said."""
    failed = tally.failed
    with tempfile.TemporaryDirectory(prefix="encoder-sdk-") as folder:
        desk = Desk(programs, folder)
        # Every answer is checked on its way.
        desk.seed["endpoint"] = Checker(desk.seed["endpoint"]).url
        try:
            suite(desk, tally)
            if tally.failed > failed:
                for log in sorted(pathlib.Path(folder).glob("*.log")):
                    print(f"--- {log.name}\n{log.read_text()[-4000:]}", flush=True)
        finally:
            desk.stop()


def main():
    programs, node, sdk = sys.argv[1:4]
    tally = Tally()
    python = [python_suite(suite) for suite in (Guides, Simulated, KeyServers, Cases)]
    for suite in (javascript_suite(node, sdk), *python):
        run_on_a_desk(programs, suite, tally)
    missing = uncovered(tally.passed)
    for block in missing:
        print(f"not covered: {block}", flush=True)
    print(f"code blocks of the guides: {len(BLOCKS)}, covered: {len(BLOCKS) - len(missing)}", flush=True)
    for breach in TALLY.invalid:
        print(f"invalid: {breach}", flush=True)
    print(TALLY.line(), flush=True)
    failed = tally.failed + len(missing) + len(TALLY.invalid)
    print(f"{len(tally.passed)} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
