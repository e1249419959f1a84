"""Starts a front desk, gives it something to name, and lets schemathesis loose on it. Argument: the programs' folder."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "sdk"))

from desk import Desk, wait_for  # noqa: E402

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
    "unsupported_method",
]


class World:
    """What is there to be named."""

    def __init__(self, desk):
        self.desk = desk
        self.seed = desk.seed
        self.ids = {}

    def call(self, path, **fields):
        request = urllib.request.Request(
            self.seed["endpoint"] + path,
            data=json.dumps(fields).encode(),
            headers={
                "authorization": f"Bearer {self.seed['api_key']}",
                "content-type": "application/json",
            },
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def note(self, answer):
        """Keeps the ids in an answer, by their names."""
        for name, value in answer.items() if isinstance(answer, dict) else []:
            if isinstance(value, dict):
                self.note(value)
            elif isinstance(value, list):
                for each in value:
                    if isinstance(each, str) and name.endswith("_ids"):
                        self.keep(name.removesuffix("s"), each)
                    self.note(each)
            elif isinstance(value, str) and name.endswith("_id"):
                self.keep(name, value)

    def keep(self, name, value):
        ids = self.ids.setdefault(name, [])
        if value not in ids:
            ids.append(value)

    def furnish(self):
        system, doors = self.seed["acs_system_id"], self.seed["acs_entrance_ids"]
        encoders = wait_for("the encoder", lambda: self.call("/acs/encoders/list", acs_system_id=system)["acs_encoders"])
        self.note({"acs_encoders": encoders})
        self.note(self.call("/acs/systems/list"))
        self.note({"acs_entrance_ids": doors})
        for number in range(12):
            person = self.call("/user_identities/create", full_name=f"Guest {number}")
            self.note(person)
            person = person["user_identity"]["user_identity_id"]
            space = self.call("/spaces/create", name=f"Room {number}", acs_entrance_ids=doors[:1])
            self.note(space)
            self.note(
                self.call(
                    "/access_grants/create",
                    user_identity_id=person,
                    space_ids=[space["space"]["space_id"]],
                    requested_access_methods=[{"mode": "card"}],
                )
            )
            user = self.call("/acs/users/create", acs_system_id=system, full_name=f"Clerk {number}")
            self.note(user)
            self.note(
                self.call(
                    "/acs/credentials/create",
                    acs_user_id=user["acs_user"]["acs_user_id"],
                    access_method="card",
                    allowed_acs_entrance_ids=doors,
                )
            )
            self.note(self.call("/webhooks/create", url="http://127.0.0.1:9/"))
        encoder = self.ids["acs_encoder_id"][0]
        self.note(self.call("/acs/encoders/scan_credential", acs_encoder_id=encoder))
        self.note(self.call("/events/list", since="2020-01-01"))


def main():
    programs = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="encoder-schema-") as folder:
        desk = Desk(programs, folder)
        try:
            world = World(desk)
            world.furnish()
            passed, failed = fuzz(desk, world, pathlib.Path(folder))
        finally:
            desk.stop()
    print(f"passed {passed} failed {failed}")
    sys.exit(1 if failed or not passed else 0)


def fuzz(desk, world, folder):
    report = folder / "report.xml"
    command = [
        pathlib.Path(sys.executable).with_name("schemathesis"),
        "--config-file", HERE / "schemathesis.toml",
        "run",
        desk.seed["endpoint"] + "/openapi.json",
        "--header", f"Authorization: Bearer {desk.seed['api_key']}",
        "--seed", os.environ.get("SCHEMA_SEED", "1"),
        "--max-examples", os.environ.get("SCHEMA_EXAMPLES", "10"),
        "--checks", ",".join(CHECKS),
        "--continue-on-failure",
        "--generation-database", "none",
        "--request-timeout", "10",
        "--report", "junit", "--report-junit-path", report,
        *sys.argv[2:],
    ]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "SCHEMA_IDS": json.dumps(world.ids)}
    ended = subprocess.run(command, env=environment, cwd=folder)
    passed, failed = tally(report)
    # Whatever else made it fail counts too.
    return passed, failed or int(ended.returncode != 0)


def tally(report):
    """How many operations passed and failed."""
    passed = failed = 0
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is None and case.find("error") is None:
            passed += 1
        else:
            failed += 1
    return passed, failed


if __name__ == "__main__":
    main()
