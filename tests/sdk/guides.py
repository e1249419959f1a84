"""The code blocks of the card guides in Python and as plain HTTP, with ids and later dates in place of their examples."""

import json
import urllib.request

from seam import Seam, SeamActionAttemptFailedError, SeamActionAttemptTimeoutError
from seam import SeamHttpInvalidInputError, SeamHttpUnauthorizedError, SeamInvalidWebhookPayloadError
from seam import SeamWebhook, SeamWebhookVerificationError

from desk import wait_for
from receiver import Receiver
from steps import case

WAIT = {"timeout": 60.0, "polling_interval": 0.05}


class Guides:
    def __init__(self, desk):
        self.desk = desk
        self.endpoint = desk.seed["endpoint"]
        self.system = desk.seed["acs_system_id"]
        self.doors = desk.seed["acs_entrance_ids"]
        self.seam = Seam(api_key=desk.seed["api_key"], endpoint=self.endpoint)
        self.receiver = Receiver()
        self.gym = desk.gym(["5E4D3C2B", "ABCD1234"])

    def post(self, path, body):
        """A request as the guides' cURL blocks send it; the answer's body."""
        request = urllib.request.Request(
            self.endpoint + path,
            data=json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.desk.seed['api_key']}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request) as answer:
            body = json.load(answer)
        assert body["ok"] is True, body
        return body

    def polled(self, action_attempt_id):
        """The attempt, as plain HTTP shows it once it has ended."""
        def ended():
            body = self.post("/action_attempts/get", {"action_attempt_id": action_attempt_id})
            attempt = body["action_attempt"]
            return attempt if attempt["status"] != "pending" else None

        return wait_for("the attempt to end", ended)

    @case
    def makes_a_webhook(self):
        webhook = self.seam.webhooks.create(url=self.receiver.url, event_types=["*"])
        self.secret = webhook.secret

    # -- Creating and Encoding Card-based Credentials

    @case
    def sets_up_a_user_and_a_card_credential(self):
        acs_user = self.seam.acs.users.create(
            acs_system_id=self.system,
            full_name="Jane Doe",
            email_address="jane@example.com",
        )
        self.credential = self.seam.acs.credentials.create(
            acs_user_id=acs_user.acs_user_id,
            access_method="card",
            allowed_acs_entrance_ids=[self.doors[0]],
            starts_at="2024-12-01T15:00:00.000Z",
            ends_at="2024-12-04T12:00:00.000Z",
        )
        assert self.credential.acs_user_id == acs_user.acs_user_id
        assert self.credential.access_method == "card" and self.credential.is_issued is False
        assert self.credential.starts_at == "2024-12-01T15:00:00.000Z", self.credential

    @case
    def retrieves_encoders(self):
        def listed():
            return self.seam.acs.encoders.list(acs_system_ids=[self.system])

        (self.encoder,) = wait_for("the encoder", listed)
        assert self.encoder.display_name == "Front Desk"

    @case
    def encodes_the_card(self):
        self.desk.emulator.tell("new placed classic-1k uid 0c000001")
        self.desk.emulator.tell("swap placed")
        self.attempt = self.seam.acs.encoders.encode_credential(
            acs_credential_id=self.credential.acs_credential_id,
            acs_encoder_id=self.encoder.acs_encoder_id,
            wait_for_action_attempt=False,
        )
        assert self.attempt.status == "pending" and self.attempt.action_type == "ENCODE_CREDENTIAL"
        assert self.attempt.result is None and self.attempt.error is None

    @case
    def polls_the_action_attempt(self):
        def succeeded():
            attempt = self.seam.action_attempts.get(
                action_attempt_id=self.attempt.action_attempt_id, wait_for_action_attempt=False
            )
            return attempt if attempt.status == "success" else None

        result = wait_for("success", succeeded).result
        assert result.acs_credential_id == self.credential.acs_credential_id
        assert result.card_number == "0c000001" and result.is_issued is True and result.issued_at

    @case
    def views_the_credential(self):
        credential = self.seam.acs.credentials.get(acs_credential_id=self.credential.acs_credential_id)
        assert credential.is_issued is True and credential.card_number == "0c000001"
        assert credential.issued_at and credential.acs_user_id == self.credential.acs_user_id

    def heard(self, event_type, acs_credential_id):
        def arrived():
            events = self.receiver.verified(self.secret)
            meant = [it for it in events if it.event_type == event_type]
            return next((it for it in meant if it.acs_credential_id == acs_credential_id), None)

        return wait_for(f"{event_type} at the webhook", arrived)

    @case
    def hears_of_the_issued_credential_by_webhook(self):
        event = self.heard("acs_credential.issued", self.credential.acs_credential_id)
        assert event.event_description == "An ACS credential was issued."
        assert event.acs_system_id == self.system and event.connected_account_id
        assert event.event_id and event.workspace_id and event.created_at and event.occurred_at

    @case
    def refuses_forged_and_old_deliveries(self):
        headers, body = self.receiver.deliveries[0]
        webhook = SeamWebhook(self.secret)
        old = {**headers, "svix-timestamp": str(int(headers["svix-timestamp"]) - 600)}
        for forged, text in ((headers, body + " "), (old, body)):
            try:
                webhook.verify(text, forged)
            except (SeamWebhookVerificationError, SeamInvalidWebhookPayloadError):
                continue
            raise AssertionError("the verifier took a delivery that is not ours")

    @case
    def hears_of_a_re_encoded_card_by_webhook(self):
        second = self.seam.acs.credentials.create(
            acs_user_id=self.credential.acs_user_id, access_method="card", allowed_acs_entrance_ids=self.doors
        )
        self.desk.emulator.tell("remove")
        self.desk.until_seen_absent()
        self.desk.emulator.tell("place placed")
        encoded = self.seam.acs.encoders.encode_credential(
            acs_credential_id=second.acs_credential_id,
            acs_encoder_id=self.encoder.acs_encoder_id,
            wait_for_action_attempt=WAIT,
        )
        assert encoded.result.card_number == "0c000001"
        self.heard("acs_credential.reissued", second.acs_credential_id)
        self.heard("acs_credential.invalidated", self.credential.acs_credential_id)

    # -- Scan a Credential

    @case
    def scans_a_credential(self):
        attempt = self.seam.acs.encoders.scan_credential(acs_encoder_id=self.encoder.acs_encoder_id)
        assert attempt.status == "success" and attempt.action_type == "SCAN_CREDENTIAL"
        assert attempt.result.acs_credential_on_encoder.card_number == "0c000001"
        assert attempt.result.acs_credential_on_seam.is_issued is True
        assert attempt.result.warnings == [], attempt.result.warnings

    @case
    def scans_a_credential_over_http(self):
        body = self.post("/acs/encoders/scan_credential", {"acs_encoder_id": self.encoder.acs_encoder_id})
        ended = self.polled(body["action_attempt"]["action_attempt_id"])
        assert ended["result"]["acs_credential_on_encoder"]["card_number"] == "0c000001", ended

    # -- Using Key Cards

    @case
    def verifies_entrance_support(self):
        entrances = self.seam.acs.entrances.list(acs_system_id=self.system)
        card_entrances = [e for e in entrances if e.can_unlock_with_card]
        assert [e.acs_entrance_id for e in card_entrances] == self.doors

    @case
    def verifies_entrance_support_over_http(self):
        body = self.post("/acs/entrances/list", {"acs_system_id": self.system})
        assert all(entrance["can_unlock_with_card"] for entrance in body["acs_entrances"])

    @case
    def creates_an_access_grant_with_a_key_card(self):
        self.person = self.seam.user_identities.create(full_name="Jane Doe", email_address="jane.doe@example.com")
        self.grant = self.seam.access_grants.create(
            user_identity_id=self.person.user_identity_id,
            acs_entrance_ids=[self.doors[0]],
            requested_access_methods=[{"mode": "card"}],
            starts_at="2027-07-13T15:00:00.000Z",
            ends_at="2027-07-16T11:00:00.000Z",
        )
        assert self.grant.user_identity_id == self.person.user_identity_id
        assert len(self.grant.access_method_ids) == 1

    @case
    def creates_an_access_grant_with_a_key_card_over_http(self):
        body = self.post(
            "/access_grants/create",
            {
                "user_identity_id": self.person.user_identity_id,
                "acs_entrance_ids": [self.doors[1]],
                "requested_access_methods": [{"mode": "card"}],
                "starts_at": "2027-07-13T15:00:00.000Z",
                "ends_at": "2027-07-16T11:00:00.000Z",
            },
        )
        self.grant_over_http = body["access_grant"]
        assert self.grant_over_http["starts_at"] == "2027-07-13T15:00:00.000Z"

    @case
    def looks_whether_to_encode_the_key_card(self):
        access_methods = self.seam.access_methods.list(access_grant_id=self.grant.access_grant_id)
        self.card = access_methods[0]
        assert self.card.is_encoding_required is True and self.card.is_issued is False, self.card

    @case
    def looks_whether_to_encode_the_key_card_over_http(self):
        body = self.post("/access_methods/list", {"access_grant_id": self.grant_over_http["access_grant_id"]})
        (self.card_over_http,) = body["access_methods"]
        assert self.card_over_http["is_encoding_required"] is True
        assert self.card_over_http["mode"] == "card" and self.card_over_http["display_name"]

    @case
    def encodes_the_key_card(self):
        self.desk.fresh_card("0c000002")
        # As printed: the SDK waits by itself, five seconds at most.
        action_attempt = self.seam.access_methods.encode(
            access_method_id=self.card.access_method_id,
            acs_encoder_id=self.encoder.acs_encoder_id,
        )
        assert action_attempt.status == "success", action_attempt
        card = self.seam.access_methods.get(access_method_id=self.card.access_method_id)
        assert card.is_encoding_required is False and card.is_issued is True, card

    @case
    def encodes_the_key_card_over_http(self):
        self.desk.fresh_card("0c000003")
        body = self.post(
            "/access_methods/encode",
            {
                "access_method_id": self.card_over_http["access_method_id"],
                "acs_encoder_id": self.encoder.acs_encoder_id,
            },
        )
        ended = self.polled(body["action_attempt"]["action_attempt_id"])
        assert ended["status"] == "success", ended

    def member(self):
        """A person who may go into the gym with a card that is yet to be assigned."""
        grant = self.seam.access_grants.create(
            user_identity={"full_name": "Member"},
            acs_entrance_ids=[self.gym["acs_entrance_id"]],
            requested_access_methods=[{"mode": "card"}],
        )
        (method,) = self.seam.access_methods.list(access_grant_id=grant.access_grant_id)
        assert method.is_assignment_required is True, method
        return method.access_method_id

    @case
    def assigns_a_key_card(self):
        method = self.member()
        action_attempt = self.seam.access_methods.assign_card(access_method_id=method, card_number="ABCD1234")
        assert action_attempt.status == "success", action_attempt
        card = self.seam.access_methods.get(access_method_id=method)
        assert card.is_assignment_required is False and card.is_issued is True, card

    @case
    def assigns_a_key_card_over_http(self):
        method = self.member()
        body = self.post("/access_methods/assign_card", {"access_method_id": method, "card_number": "5E4D3C2B"})
        assert self.polled(body["action_attempt"]["action_attempt_id"])["status"] == "success"

    @case
    def sees_which_doors_the_key_card_covers(self):
        related = self.seam.access_methods.get_related(access_method_ids=[self.card.access_method_id])
        assert [door["acs_entrance_id"] for door in related.acs_entrances] == [self.doors[0]]

    @case
    def sees_which_doors_the_key_card_covers_over_http(self):
        ids = [self.card_over_http["access_method_id"]]
        body = self.post("/access_methods/get_related", {"access_method_ids": ids})
        assert [door["acs_entrance_id"] for door in body["batch"]["acs_entrances"]] == [self.doors[1]]

    # -- What holds for every guide

    @case
    def waiting_ends_before_the_attempt_does(self):
        self.desk.emulator.tell("remove")
        self.desk.until_seen_absent()
        credential = self.seam.acs.credentials.create(
            acs_user_id=self.credential.acs_user_id, access_method="card"
        )
        try:
            self.seam.acs.encoders.encode_credential(
                acs_credential_id=credential.acs_credential_id,
                acs_encoder_id=self.encoder.acs_encoder_id,
                wait_for_action_attempt={"timeout": 0.3, "polling_interval": 0.05},
            )
        except SeamActionAttemptTimeoutError as error:
            attempt = error.action_attempt
        else:
            raise AssertionError("nobody put a card down, and it succeeded")
        self.desk.fresh_card("0c000004")
        assert self.polled(attempt.action_attempt_id)["result"]["card_number"] == "0c000004"

    @case
    def an_invalid_parameter_is_named(self):
        try:
            self.seam.acs.credentials.create(acs_user_id="x", access_method="card")
        except SeamHttpInvalidInputError as error:
            assert error.get_validation_error_messages("acs_user_id"), error
            assert error.status_code == 400 and error.request_id
        else:
            raise AssertionError("an id that is none was taken")

    @case
    def an_unknown_card_is_a_failed_attempt(self):
        try:
            self.seam.access_methods.assign_card(access_method_id=self.member(), card_number="no such card")
        except SeamActionAttemptFailedError as error:
            assert error.code == "credential_not_found", error
        else:
            raise AssertionError("a card that nobody registered was assigned")

    @case
    def pages_lead_through_every_user(self):
        for number in range(5):
            self.seam.acs.users.create(acs_system_id=self.system, full_name=f"Guest {number}")
        whole = [user.acs_user_id for user in self.seam.acs.users.list(acs_system_id=self.system)]
        pages = self.seam.create_paginator(self.seam.acs.users.list, {"acs_system_id": self.system, "limit": 2})
        first, pagination = pages.first_page()
        assert len(first) == 2 and pagination.has_next_page
        second, _ = pages.next_page(pagination.next_page_cursor)
        assert [user.acs_user_id for user in first + second] == whole[:4]
        assert [user.acs_user_id for user in pages.flatten_to_list()] == whole

    @case
    def a_personal_access_token_opens_two_workspaces(self):
        other = self.desk.second_workspace()
        own = self.seam.workspaces.get().workspace_id
        token = self.desk.token([own, other["workspace_id"]])

        def systems(workspace_id):
            seam = Seam.from_personal_access_token(token, workspace_id, endpoint=self.endpoint)
            assert seam.workspaces.get().workspace_id == workspace_id
            return {system.acs_system_id for system in seam.acs.systems.list()}

        assert systems(own) == {self.system, self.gym["acs_system_id"]}
        assert systems(other["workspace_id"]) == {other["acs_system_id"]}
        only_other = self.desk.token([other["workspace_id"]])
        try:
            Seam.from_personal_access_token(only_other, own, endpoint=self.endpoint).acs.systems.list()
        except SeamHttpUnauthorizedError:
            return
        raise AssertionError("a token opened a workspace that it was not made for")
