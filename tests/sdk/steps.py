"""What the suites of Python's `seam` share: a guest, a credential, an encode, and how they end."""

from seam import Seam, SeamActionAttemptFailedError

from desk import wait_for

WAIT = {"timeout": 75.0, "polling_interval": 0.05}
STARTS_AT = "2026-12-01T15:00:00.000Z"
ENDS_AT = "2026-12-04T12:00:00.000Z"


def case(step):
    """Marks a step of a suite; they run in the order in which they stand."""
    step.is_case = True
    return step


class Steps:
    def __init__(self, desk):
        self.desk = desk
        self.seed = desk.seed
        self.seam = Seam(api_key=self.seed["api_key"], endpoint=self.seed["endpoint"])
        self.user = None
        self.encoder_id = None

    def credential(self, acs_entrance_ids=None):
        return self.seam.acs.credentials.create(
            acs_user_id=self.user.acs_user_id,
            access_method="card",
            allowed_acs_entrance_ids=acs_entrance_ids or self.seed["acs_entrance_ids"],
            starts_at=STARTS_AT,
            ends_at=ENDS_AT,
        )

    def encode(self, credential, wait=WAIT):
        return self.seam.acs.encoders.encode_credential(
            acs_encoder_id=self.encoder_id,
            acs_credential_id=credential.acs_credential_id,
            wait_for_action_attempt=wait,
        )

    def scan(self):
        return self.seam.acs.encoders.scan_credential(
            acs_encoder_id=self.encoder_id, wait_for_action_attempt=WAIT
        )

    def attempt(self, attempt):
        return self.seam.action_attempts.get(
            action_attempt_id=attempt.action_attempt_id, wait_for_action_attempt=False
        )

    def finished(self, attempt, seconds=10):
        def done():
            now = self.attempt(attempt)
            return now if now.status != "pending" else None

        return wait_for("the attempt to end", done, seconds)

    def fails_with(self, code, act):
        try:
            act()
        except SeamActionAttemptFailedError as error:
            assert error.code == code, f"{error.code}: {error}"
            return error
        raise AssertionError(f"expected {code}, but it succeeded")

    def is_untouched(self, attempt):
        raw = self.desk.raw_attempt(attempt.action_attempt_id)
        assert raw["error"]["touched"] == "untouched", raw

    def fresh_card(self, uid, kind="classic-1k"):
        self.desk.fresh_card(uid, kind)

    def until_seen_absent(self):
        self.desk.until_seen_absent()
