"""What happens at a desk, seen through the unmodified Seam SDK, case by case, in this order."""

import time

from seam import Seam
from seam import SeamHttpApiError, SeamHttpInvalidInputError, SeamHttpUnauthorizedError
from seam import SeamWebhookVerificationError

from desk import wait_for
from receiver import Receiver
from steps import ENDS_AT, STARTS_AT, WAIT, Steps, case


class Cases(Steps):
    def __init__(self, desk):
        super().__init__(desk)
        self.encoded = None
        self.receiver = Receiver()
        self.webhook = None
        self.grant = None

    @case
    def lists_the_encoder(self):
        def listed():
            encoders = self.seam.acs.encoders.list(acs_system_ids=[self.seed["acs_system_id"]])
            return encoders if len(encoders) == 1 else None

        encoder = wait_for("the encoder to be listed", listed)[0]
        assert encoder.display_name == "Front Desk", encoder
        assert encoder.acs_system_id == self.seed["acs_system_id"]
        assert encoder.errors == []
        self.encoder_id = encoder.acs_encoder_id
        again = self.seam.acs.encoders.get(acs_encoder_id=self.encoder_id)
        assert again.acs_encoder_id == self.encoder_id

    @case
    def creates_a_user_and_a_credential(self):
        self.user = self.seam.acs.users.create(
            acs_system_id=self.seed["acs_system_id"], full_name="Jane Doe", email_address="jane@example.com"
        )
        credential = self.credential()
        assert credential.is_issued is False
        assert credential.card_number is None and credential.issued_at is None
        self.encoded = credential

    @case
    def makes_a_webhook(self):
        made = self.seam.webhooks.create(url=self.receiver.url, event_types=["acs_user.created"])
        assert made.url == self.receiver.url and made.secret.startswith("whsec_"), made
        self.seam.webhooks.update(webhook_id=made.webhook_id, event_types=["acs_credential.issued"])
        self.webhook = self.seam.webhooks.get(webhook_id=made.webhook_id)
        assert self.webhook.event_types == ["acs_credential.issued"], self.webhook
        assert self.webhook.secret == made.secret
        assert [webhook.webhook_id for webhook in self.seam.webhooks.list()] == [made.webhook_id]
        self.receiver.fail(1)

    @case
    def encodes_the_credential(self):
        self.desk.emulator.tell("swap classic-1k uid deadbeef")
        attempt = self.encode(self.encoded)
        assert attempt.status == "success" and attempt.action_type == "ENCODE_CREDENTIAL"
        assert attempt.result.card_number == "deadbeef", attempt.result
        assert attempt.result.is_issued is True and attempt.result.issued_at
        stored = self.seam.acs.credentials.get(acs_credential_id=self.encoded.acs_credential_id)
        assert stored.is_issued is True and stored.card_number == "deadbeef"
        assert stored.issued_at == attempt.result.issued_at

    @case
    def an_issued_event_is_there(self):
        events = self.seam.events.list(since="2020-01-01T00:00:00.000Z", event_type="acs_credential.issued")
        assert [event.acs_credential_id for event in events] == [self.encoded.acs_credential_id], events

    @case
    def the_issued_event_arrives_at_the_webhook_and_again_after_a_failure(self):
        wait_for("the event and its repeat", lambda: len(self.receiver.deliveries) == 2)
        first, repeat = self.receiver.verified(self.webhook.secret)
        assert first.event_type == "acs_credential.issued"
        assert first.acs_credential_id == self.encoded.acs_credential_id, first
        stored = self.seam.events.get(event_id=first.event_id)
        assert stored == first == repeat, (stored, first, repeat)
        assert self.receiver.ids() == [first.event_id] * 2
        other = "whsec_" + "A" * 32
        try:
            self.receiver.verified(other)
        except SeamWebhookVerificationError:
            pass
        else:
            raise AssertionError("another secret verified the signature")

    @case
    def a_deleted_webhook_gets_nothing_more(self):
        self.seam.webhooks.delete(webhook_id=self.webhook.webhook_id)
        assert self.seam.webhooks.list() == []

    @case
    def refuses_to_encode_an_unchanged_credential_again(self):
        self.fails_with("credential_cannot_be_reissued", lambda: self.encode(self.encoded))

    @case
    def scans_it_in_sync(self):
        attempt = self.scan()
        on_card = attempt.result.acs_credential_on_encoder
        assert attempt.action_type == "SCAN_CREDENTIAL"
        assert on_card.card_number == "deadbeef" and on_card.is_issued is True
        assert on_card.starts_at == STARTS_AT and on_card.ends_at == ENDS_AT, on_card
        assert attempt.result.acs_credential_on_seam.acs_credential_id == self.encoded.acs_credential_id
        assert attempt.result.warnings == [], attempt.result.warnings

    @case
    def names_ends_at_when_it_is_out_of_sync(self):
        self.seam.acs.credentials.update(
            acs_credential_id=self.encoded.acs_credential_id, ends_at="2026-12-05T12:00:00.000Z"
        )
        warnings = self.scan().result.warnings
        assert [warning.warning_code for warning in warnings] == ["acs_credential_on_encoder_out_of_sync"]
        assert warnings[0].warning_message.endswith(": ends_at"), warnings[0]
        stored = self.seam.acs.credentials.get(acs_credential_id=self.encoded.acs_credential_id)
        assert "needs_to_be_reissued" in [warning.warning_code for warning in stored.warnings]

    @case
    def encodes_a_changed_credential_onto_the_same_card(self):
        attempt = self.encode(self.encoded)
        assert attempt.result.card_number == "deadbeef"
        assert self.scan().result.warnings == []

    @case
    def refuses_a_changed_credential_on_another_card(self):
        self.seam.acs.credentials.update(
            acs_credential_id=self.encoded.acs_credential_id, ends_at="2026-12-06T12:00:00.000Z"
        )
        self.desk.emulator.tell("new guest classic-1k uid 0badcafe")
        self.desk.emulator.tell("remove")
        self.until_seen_absent()
        self.desk.emulator.tell("place guest")
        before = self.desk.emulator.memory(self.desk.folder)
        self.fails_with("credential_cannot_be_reissued", lambda: self.encode(self.encoded))
        assert self.desk.emulator.memory(self.desk.folder) == before, "the other card was changed"

    @case
    def re_encodes_a_card_with_another_credential(self):
        first, second = self.credential(), self.credential()
        assert self.encode(first).status == "success"
        self.desk.emulator.tell("remove")
        self.until_seen_absent()
        self.desk.emulator.tell("place guest")
        assert self.encode(second).result.card_number == "0badcafe"
        events = self.seam.events.list(since="2020-01-01T00:00:00.000Z", event_type="acs_credential.reissued")
        assert second.acs_credential_id in [event.acs_credential_id for event in events]

    @case
    def creates_an_access_grant_with_a_card(self):
        entrances = self.seam.acs.entrances.list(acs_system_id=self.seed["acs_system_id"])
        cards = [entrance for entrance in entrances if entrance.can_unlock_with_card]
        self.grant = self.seam.access_grants.create(
            user_identity={
                "full_name": "Jane Doe",
                "email_address": "jane.doe@example.com",
                "phone_number": "+15555551000",
            },
            acs_entrance_ids=[cards[0].acs_entrance_id, cards[1].acs_entrance_id],
            requested_access_methods=[{"mode": "card"}],
            starts_at=STARTS_AT,
            ends_at=ENDS_AT,
        )
        assert self.grant.starts_at == STARTS_AT and self.grant.ends_at == ENDS_AT, self.grant
        requested = self.grant.requested_access_methods[0]
        assert requested.mode == "card" and requested.created_access_method_ids == self.grant.access_method_ids
        methods = self.seam.access_methods.list(access_grant_id=self.grant.access_grant_id)
        assert [method.access_method_id for method in methods] == self.grant.access_method_ids
        assert methods[0].is_encoding_required is True and methods[0].is_issued is False, methods[0]

    def method(self):
        return self.seam.access_methods.get(access_method_id=self.grant.access_method_ids[0])

    def encode_method(self, wait=WAIT):
        return self.seam.access_methods.encode(
            access_method_id=self.grant.access_method_ids[0],
            acs_encoder_id=self.encoder_id,
            wait_for_action_attempt=wait,
        )

    @case
    def encodes_the_access_method_and_polls(self):
        self.fresh_card("ca4d0001")
        attempt = self.encode_method(wait=False)
        assert attempt.action_type == "ENCODE_ACCESS_METHOD", attempt
        ended = self.finished(attempt)
        assert ended.status == "success" and ended.action_type == "ENCODE_ACCESS_METHOD", ended
        assert ended.result.access_method_id == self.grant.access_method_ids[0]
        assert ended.result.card_number == "ca4d0001" and ended.result.is_issued is True, ended.result
        method = self.method()
        assert method.is_issued is True and method.issued_at == ended.result.issued_at
        assert method.is_encoding_required is False
        events = self.seam.events.list(
            since="2020-01-01T00:00:00.000Z",
            event_type="access_method.issued",
            access_method_id=method.access_method_id,
        )
        assert [event.access_grant_ids for event in events] == [[self.grant.access_grant_id]], events

    @case
    def an_access_method_goes_onto_no_other_card(self):
        self.fails_with("credential_cannot_be_reissued", self.encode_method)
        self.seam.access_grants.update(
            access_grant_id=self.grant.access_grant_id, ends_at="2026-12-05T11:00:00.000Z"
        )
        changed = self.method()
        assert changed.is_encoding_required is True and changed.is_issued is True, changed
        assert [it.mutation_code for it in changed.pending_mutations] == ["updating_access_times"]
        self.fresh_card("ca4d0002")
        self.fails_with("credential_cannot_be_reissued", self.encode_method)
        self.fresh_card("ca4d0001")
        assert self.encode_method().result.card_number == "ca4d0001"
        assert self.method().pending_mutations == []

    @case
    def shows_which_doors_the_card_opens(self):
        related = self.seam.access_methods.get_related(access_method_ids=self.grant.access_method_ids)
        doors = {door["acs_entrance_id"] for door in related.acs_entrances}
        assert doors == set(self.seed["acs_entrance_ids"][:2]), related
        assert related.access_grants[0]["access_grant_id"] == self.grant.access_grant_id
        of_grant = self.seam.access_grants.get_related(access_grant_ids=[self.grant.access_grant_id])
        assert of_grant.user_identities[0]["email_address"] == "jane.doe@example.com", of_grant

    @case
    def grants_access_to_a_space(self):
        space = self.seam.spaces.create(name="Room 101", space_key="r101")
        self.seam.spaces.add_acs_entrances(
            space_id=space.space_id, acs_entrance_ids=self.seed["acs_entrance_ids"][:1]
        )
        person = self.seam.user_identities.create(full_name="John Doe", user_identity_key="guest-2")
        grant = self.seam.access_grants.create(
            user_identity_id=person.user_identity_id,
            space_ids=[space.space_id],
            requested_access_methods=[{"mode": "card"}],
        )
        assert len(grant.access_method_ids) == 1 and grant.space_ids == [space.space_id], grant
        found = self.seam.access_grants.list(user_identity_id=person.user_identity_id)
        assert [it.access_grant_id for it in found] == [grant.access_grant_id]
        self.seam.access_grants.delete(access_grant_id=grant.access_grant_id)
        assert self.seam.access_methods.list(access_grant_id=self.grant.access_grant_id) != []

    @case
    def scans_a_card_to_assign_it(self):
        related = self.seam.access_methods.get_related(access_method_ids=self.grant.access_method_ids)
        owner = related.acs_credentials[0]["acs_user_id"]
        attempt = self.seam.acs.encoders.scan_to_assign_credential(
            acs_encoder_id=self.encoder_id, acs_user_id=owner, wait_for_action_attempt=WAIT
        )
        assert attempt.action_type == "SCAN_TO_ASSIGN_CREDENTIAL", attempt
        assert attempt.result.acs_credential_id == related.acs_credentials[0]["acs_credential_id"]
        error = self.fails_with(
            "uncategorized_error",
            lambda: self.seam.acs.encoders.scan_to_assign_credential(
                acs_encoder_id=self.encoder_id, acs_user_id=self.user.acs_user_id, wait_for_action_attempt=WAIT
            ),
        )
        self.is_untouched(error.action_attempt)

    @case
    def deleting_the_grant_takes_its_card_away(self):
        self.seam.access_grants.delete(access_grant_id=self.grant.access_grant_id)
        warnings = self.scan().result.warnings
        assert [it.warning_code for it in warnings] == ["acs_credential_on_seam_not_found"], warnings

    @case
    def scans_a_card_that_is_not_ours(self):
        self.fresh_card("11223344")
        result = self.scan().result
        assert result.acs_credential_on_encoder.card_number == "11223344"
        assert result.acs_credential_on_encoder.starts_at is None
        assert result.acs_credential_on_seam is None
        assert [warning.warning_code for warning in result.warnings] == ["acs_credential_on_seam_not_found"]

    @case
    def encodes_an_ntag_and_an_ultralight(self):
        for kind, uid in (("ntag213", "04a1b2c3d4e5f6"), ("ultralight", "04112233445566")):
            self.fresh_card(uid, kind)
            assert self.encode(self.credential()).result.card_number == uid
            result = self.scan().result
            assert result.warnings == [], (kind, result.warnings)

    @case
    def encodes_twenty_entrances_where_the_card_has_room(self):
        doors = [self.desk.entrance(f"Room {number}") for number in range(1, 21)]
        ids = [door["acs_entrance_id"] for door in doors]
        credential = self.credential(ids)
        self.fresh_card("04112233445577", "ultralight")
        error = self.fails_with("incompatible_card_format", lambda: self.encode(credential))
        assert "room for 3 entrances, the credential has 20" in str(error), error
        self.is_untouched(error.action_attempt)
        for kind, uid in (("classic-1k", "22334455"), ("ntag213", "04a1b2c3d4e5f7")):
            self.fresh_card(uid, kind)
            encoded = self.encode(self.credential(ids)).result
            assert encoded.card_number == uid, encoded
            result = self.scan().result
            assert result.acs_credential_on_seam.acs_credential_id == encoded.acs_credential_id, kind
            assert result.warnings == [], (kind, result.warnings)
            # The twentieth entrance and the zeros behind it, which a record of three entrances never writes.
            last = doors[-1]["number"].to_bytes(2, "big") + bytes(14)
            assert last in self.desk.emulator.memory(self.desk.folder), kind

    @case
    def ends_without_a_card(self):
        self.desk.emulator.tell("remove")
        self.until_seen_absent()
        error = self.fails_with("no_card_on_encoder", lambda: self.encode(self.credential()))
        self.is_untouched(error.action_attempt)

    @case
    def refuses_a_technology_it_cannot_use(self):
        self.desk.emulator.tell("place desfire")
        error = self.fails_with("incompatible_card_format", lambda: self.encode(self.credential()))
        self.is_untouched(error.action_attempt)

    @case
    def one_card_takes_one_of_three_queued_encodes(self):
        self.fresh_card("aa000001")
        attempts = [self.encode(self.credential(), wait=False) for _ in range(3)]
        first = self.finished(attempts[0])
        assert first.status == "success" and first.result.card_number == "aa000001"
        written = self.desk.emulator.memory(self.desk.folder)
        asked_later = self.encode(self.credential(), wait=False)
        time.sleep(1.5)  # long enough for a wrong agent to overwrite the card
        waiting = attempts[1:] + [asked_later]
        assert [self.attempt(each).status for each in waiting] == ["pending"] * 3
        assert self.desk.emulator.memory(self.desk.folder) == written, "the first guest's key was overwritten"
        for each, uid in zip(waiting, ("aa000002", "aa000003", "aa000004")):
            self.fresh_card(uid)
            done = self.finished(each)
            assert done.status == "success", done
            assert done.result.card_number == uid, done.result

    @case
    def a_repeated_post_returns_the_open_attempt(self):
        self.desk.emulator.tell("remove")
        self.until_seen_absent()
        credential = self.credential()
        first, second = self.encode(credential, wait=False), self.encode(credential, wait=False)
        assert first.action_attempt_id == second.action_attempt_id
        self.desk.emulator.tell("place classic-1k uid aa000005")
        assert self.finished(first).status == "success"

    @case
    def deleting_the_credential_ends_its_waiting_job(self):
        self.desk.emulator.tell("remove")
        self.until_seen_absent()
        credential = self.credential()
        attempt = self.encode(credential, wait=False)
        self.seam.acs.credentials.delete(acs_credential_id=credential.acs_credential_id)
        ended = self.finished(attempt)
        assert ended.error.type == "credential_deleted", ended

    @case
    def bad_input_is_told_as_the_sdk_expects(self):
        for call, kind in (
            (lambda: self.seam.acs.encoders.get(acs_encoder_id="not-a-uuid"), SeamHttpInvalidInputError),
            (lambda: self.seam.acs.encoders.get(acs_encoder_id=self.user.acs_user_id), SeamHttpApiError),
            (lambda: Seam(api_key="seam_wrong", endpoint=self.seed["endpoint"]).acs.systems.list(),
             SeamHttpUnauthorizedError),
        ):
            try:
                call()
            except kind as error:
                assert error.request_id, "an error carries its request id"
            else:
                raise AssertionError(f"expected {kind.__name__}")

    @case
    def an_unplugged_encoder_is_not_online(self):
        self.desk.emulator.tell("unplug")

        ended = self.finished(self.encode(self.credential(), wait=False), 75)
        assert ended.error.type == "encoder_not_online", ended
        self.is_untouched(ended)
        self.desk.emulator.tell("plug")

    @case
    def it_serves_again_after_the_replug(self):
        self.desk.emulator.tell("place classic-1k uid aa000006")

        def served():
            attempt = self.finished(self.encode(self.credential(), wait=False), 75)
            return attempt.status == "success" and attempt.result.card_number == "aa000006"

        wait_for("an encode after the replug", served, 30)

    @case
    def the_deleted_webhook_has_got_nothing_more(self):
        assert len(self.receiver.deliveries) == 2, self.receiver.deliveries

    @case
    def reports_the_agents_memory(self):
        resident = self.desk.resident_kib()
        print(f"  the agent's resident memory: {resident / 1024:.1f} MiB", flush=True)
        if self.desk.programs.name == "release":
            assert resident <= 12 * 1000 * 1000 / 1024, f"{resident} KiB"

    @case
    def a_stopped_agent_is_told_at_once(self):
        self.desk.stop_agent()
        attempt = self.encode(self.credential(), wait=False)
        assert attempt.status == "error", "the answer to the POST itself must tell it"
        assert attempt.error.type == "bridge_disconnected", attempt.error
