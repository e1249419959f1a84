"""Simulated encoders: what comes of encodes and scans without hardware, as `/acs/encoders/simulate/*` says."""

from seam import SeamHttpInvalidInputError

from desk import wait_for
from steps import Steps, case

# What is asked for, and what the guides call it.
ENCODE_FAILURES = {
    "no_credential_on_encoder": "no_card_on_encoder",
    "encoding_interrupted": "encoding_interrupted",
    "uncategorized_error": "uncategorized_error",
    "action_attempt_expired": "action_attempt_expired",
}
SCAN_FAILURES = {code: name for code, name in ENCODE_FAILURES.items() if code != "encoding_interrupted"}


class Simulated(Steps):
    def __init__(self, desk):
        super().__init__(desk)
        self.system = self.seed["acs_system_id"]
        self.encoder_id = desk.simulated_encoder(self.system)
        self.simulate = self.seam.acs.encoders.simulate
        self.user = self.seam.acs.users.create(acs_system_id=self.system, full_name="Jane Doe")
        self.encoded = None

    @case
    def lists_a_simulated_encoder_like_any(self):
        listed = self.seam.acs.encoders.list(acs_system_ids=[self.system])
        mine = [each for each in listed if each.acs_encoder_id == self.encoder_id]
        assert [each.display_name for each in mine] == ["Simulated encoder"], listed
        assert mine[0].errors == []

    @case
    def a_simulated_scan_finds_nothing_before_anything_was_encoded(self):
        result = self.scan().result
        assert result.acs_credential_on_seam is None, result

    @case
    def a_simulated_encode_issues_its_credential(self):
        self.simulate.next_credential_encode_will_succeed(
            acs_encoder_id=self.encoder_id, scenario="credential_is_issued"
        )
        self.encoded = self.encode(self.credential()).result
        assert self.encoded.is_issued is True and len(self.encoded.card_number) == 14, self.encoded
        events = self.seam.events.list(since="2020-01-01T00:00:00.000Z", event_type="acs_credential.issued")
        assert [event.acs_credential_id for event in events] == [self.encoded.acs_credential_id], events

    @case
    def the_next_simulated_encode_fails_as_it_was_said_to(self):
        for asked, told in ENCODE_FAILURES.items():
            self.simulate.next_credential_encode_will_fail(acs_encoder_id=self.encoder_id, error_code=asked)
            credential = self.credential()
            self.fails_with(told, lambda: self.encode(credential))
            assert self.encode(credential).result.is_issued is True, "the one after goes as usual"

    @case
    def a_simulated_failure_may_be_meant_for_one_credential(self):
        meant, other = self.credential(), self.credential()
        self.simulate.next_credential_encode_will_fail(
            acs_encoder_id=self.encoder_id,
            acs_credential_id=meant.acs_credential_id,
            error_code="uncategorized_error",
        )
        assert self.encode(other).status == "success"
        self.fails_with("uncategorized_error", lambda: self.encode(meant))

    def scan_that_finds(self, scenario, **credential):
        self.simulate.next_credential_scan_will_succeed(
            acs_encoder_id=self.encoder_id, scenario=scenario, **credential
        )
        result = self.scan().result
        return result, [warning.warning_code for warning in result.warnings]

    @case
    def the_next_simulated_scan_finds_what_it_was_said_to(self):
        known = {"acs_credential_id_on_seam": self.encoded.acs_credential_id}
        found, warnings = self.scan_that_finds("credential_exists_on_seam", **known)
        assert found.acs_credential_on_seam.acs_credential_id == self.encoded.acs_credential_id, found
        assert found.acs_credential_on_encoder.card_number == self.encoded.card_number, found
        assert warnings == []
        found, warnings = self.scan_that_finds("credential_on_encoder_needs_update", **known)
        assert found.acs_credential_on_seam.acs_credential_id == self.encoded.acs_credential_id, found
        assert warnings == ["acs_credential_on_encoder_out_of_sync"]
        for scenario in ("credential_does_not_exist_on_seam", "credential_on_encoder_is_empty"):
            found, warnings = self.scan_that_finds(scenario)
            assert found.acs_credential_on_seam is None, (scenario, found)
            assert warnings == ["acs_credential_on_seam_not_found"], scenario

    @case
    def the_next_simulated_scan_fails_as_it_was_said_to(self):
        for asked, told in SCAN_FAILURES.items():
            self.simulate.next_credential_scan_will_fail(acs_encoder_id=self.encoder_id, error_code=asked)
            self.fails_with(told, self.scan)

    @case
    def a_real_encoder_is_not_simulated(self):
        def listed():
            encoders = self.seam.acs.encoders.list(acs_system_ids=[self.system])
            return [each for each in encoders if each.display_name == "Front Desk"]

        real = wait_for("the real encoder", listed)[0]
        try:
            self.simulate.next_credential_encode_will_succeed(acs_encoder_id=real.acs_encoder_id)
        except SeamHttpInvalidInputError as error:
            assert error.get_validation_error_messages("acs_encoder_id"), error
        else:
            raise AssertionError("a real encoder was simulated")
