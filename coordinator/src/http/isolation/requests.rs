//! Every request that names something of another workspace.

use serde_json::{Value, json};

use super::Neighbour;

impl Neighbour {
    /// Every request that names something of theirs, and what is missing of it in another workspace.
    pub(super) fn requests(&self) -> Vec<(&'static str, Value, &'static str)> {
        let wanted = json!([{"mode": "card"}]);
        let of_person = json!({"user_identity_id": self.person, "acs_system_id": self.system});
        vec![
            (
                "/acs/systems/get",
                json!({"acs_system_id": self.system}),
                "acs_system",
            ),
            (
                "/acs/encoders/get",
                json!({"acs_encoder_id": self.encoder}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/list",
                json!({"acs_system_ids": [self.system]}),
                "acs_system",
            ),
            (
                "/acs/encoders/encode_credential",
                json!({"acs_encoder_id": self.encoder, "acs_credential_id": self.credential}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/scan_credential",
                json!({"acs_encoder_id": self.encoder}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/scan_to_assign_credential",
                json!({"acs_encoder_id": self.encoder, "acs_user_id": self.user}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/simulate/next_credential_encode_will_succeed",
                json!({"acs_encoder_id": self.encoder}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/simulate/next_credential_encode_will_fail",
                json!({"acs_encoder_id": self.encoder}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/simulate/next_credential_scan_will_succeed",
                json!({"acs_encoder_id": self.encoder}),
                "acs_encoder",
            ),
            (
                "/acs/encoders/simulate/next_credential_scan_will_fail",
                json!({"acs_encoder_id": self.encoder}),
                "acs_encoder",
            ),
            (
                "/acs/entrances/get",
                json!({"acs_entrance_id": self.door}),
                "acs_entrance",
            ),
            (
                "/acs/entrances/list",
                json!({"acs_system_id": self.system}),
                "acs_system",
            ),
            (
                "/acs/entrances/list",
                json!({"acs_credential_id": self.credential}),
                "acs_credential",
            ),
            (
                "/acs/entrances/list",
                json!({"space_id": self.space}),
                "space",
            ),
            (
                "/acs/users/get",
                json!({"acs_user_id": self.user}),
                "acs_user",
            ),
            (
                "/acs/users/list",
                json!({"acs_system_id": self.system}),
                "acs_system",
            ),
            (
                "/acs/users/list",
                json!({"user_identity_id": self.person}),
                "user_identity",
            ),
            (
                "/acs/users/create",
                json!({"acs_system_id": self.system, "full_name": "x"}),
                "acs_system",
            ),
            (
                "/acs/users/update",
                json!({"acs_user_id": self.user, "full_name": "x"}),
                "acs_user",
            ),
            (
                "/acs/users/delete",
                json!({"acs_user_id": self.user}),
                "acs_user",
            ),
            ("/acs/users/delete", of_person.clone(), "user_identity"),
            (
                "/acs/credentials/list",
                json!({"acs_user_id": self.user}),
                "acs_user",
            ),
            (
                "/acs/credentials/list",
                json!({"acs_system_id": self.system}),
                "acs_system",
            ),
            (
                "/acs/credentials/list",
                json!({"user_identity_id": self.person}),
                "user_identity",
            ),
            (
                "/acs/credentials/create",
                json!({"acs_user_id": self.user, "access_method": "card"}),
                "acs_user",
            ),
            (
                "/acs/credentials/get",
                json!({"acs_credential_id": self.credential}),
                "acs_credential",
            ),
            (
                "/acs/credentials/list_accessible_entrances",
                json!({"acs_credential_id": self.credential}),
                "acs_credential",
            ),
            (
                "/acs/credentials/update",
                json!({"acs_credential_id": self.credential, "ends_at": "2028-01-01"}),
                "acs_credential",
            ),
            (
                "/acs/credentials/assign",
                json!({"acs_credential_id": self.credential, "acs_user_id": self.user}),
                "acs_credential",
            ),
            (
                "/acs/credentials/unassign",
                json!({"acs_credential_id": self.credential, "acs_user_id": self.user}),
                "acs_credential",
            ),
            (
                "/acs/credentials/unmanaged/get",
                json!({"acs_credential_id": self.card}),
                "acs_credential",
            ),
            (
                "/acs/credentials/unmanaged/list",
                json!({"acs_system_id": self.system}),
                "acs_system",
            ),
            (
                "/acs/credentials/delete",
                json!({"acs_credential_id": self.credential}),
                "acs_credential",
            ),
            (
                "/user_identities/get",
                json!({"user_identity_id": self.person}),
                "user_identity",
            ),
            (
                "/user_identities/get",
                json!({"user_identity_key": "guest"}),
                "user_identity",
            ),
            (
                "/user_identities/create",
                json!({"acs_system_ids": [self.system]}),
                "acs_system",
            ),
            ("/spaces/get", json!({"space_id": self.space}), "space"),
            ("/spaces/get", json!({"space_key": "room"}), "space"),
            (
                "/spaces/create",
                json!({"name": "x", "acs_entrance_ids": [self.door]}),
                "acs_entrance",
            ),
            (
                "/spaces/update",
                json!({"space_id": self.space, "name": "x"}),
                "space",
            ),
            (
                "/spaces/add_acs_entrances",
                json!({"space_id": self.space, "acs_entrance_ids": [self.door]}),
                "space",
            ),
            (
                "/spaces/remove_acs_entrances",
                json!({"space_id": self.space, "acs_entrance_ids": [self.door]}),
                "space",
            ),
            ("/spaces/delete", json!({"space_id": self.space}), "space"),
            (
                "/access_grants/create",
                json!({"user_identity_id": self.person, "acs_entrance_ids": [self.door], "requested_access_methods": wanted}),
                "acs_entrance",
            ),
            (
                "/access_grants/create",
                json!({"user_identity": {}, "space_keys": ["room"], "requested_access_methods": wanted}),
                "space",
            ),
            (
                "/access_grants/get",
                json!({"access_grant_id": self.grant}),
                "access_grant",
            ),
            (
                "/access_grants/get",
                json!({"access_grant_key": "booking"}),
                "access_grant",
            ),
            (
                "/access_grants/list",
                json!({"space_id": self.space}),
                "space",
            ),
            (
                "/access_grants/list",
                json!({"acs_system_id": self.system}),
                "acs_system",
            ),
            (
                "/access_grants/list",
                json!({"acs_entrance_id": self.door}),
                "acs_entrance",
            ),
            (
                "/access_grants/list",
                json!({"user_identity_id": self.person}),
                "user_identity",
            ),
            (
                "/access_grants/get_related",
                json!({"access_grant_ids": [self.grant]}),
                "access_grant",
            ),
            (
                "/access_grants/get_related",
                json!({"access_grant_keys": ["booking"]}),
                "access_grant",
            ),
            (
                "/access_grants/request_access_methods",
                json!({"access_grant_id": self.grant, "requested_access_methods": wanted}),
                "access_grant",
            ),
            (
                "/access_grants/update",
                json!({"access_grant_id": self.grant, "name": "x"}),
                "access_grant",
            ),
            (
                "/access_grants/delete",
                json!({"access_grant_id": self.grant}),
                "access_grant",
            ),
            (
                "/access_methods/get",
                json!({"access_method_id": self.method}),
                "access_method",
            ),
            (
                "/access_methods/list",
                json!({"access_grant_id": self.grant}),
                "access_grant",
            ),
            (
                "/access_methods/list",
                json!({"space_id": self.space}),
                "space",
            ),
            (
                "/access_methods/list",
                json!({"acs_entrance_id": self.door}),
                "acs_entrance",
            ),
            (
                "/access_methods/get_related",
                json!({"access_method_ids": [self.method]}),
                "access_method",
            ),
            (
                "/access_methods/encode",
                json!({"acs_encoder_id": self.encoder, "access_method_id": self.method}),
                "acs_encoder",
            ),
            (
                "/access_methods/assign_card",
                json!({"access_method_id": self.registered_method, "card_number": "77"}),
                "access_method",
            ),
            (
                "/access_methods/delete",
                json!({"access_method_id": self.method}),
                "access_method",
            ),
            (
                "/access_methods/delete",
                json!({"access_grant_id": self.grant}),
                "access_grant",
            ),
            (
                "/action_attempts/get",
                json!({"action_attempt_id": self.attempt}),
                "action_attempt",
            ),
            (
                "/webhooks/get",
                json!({"webhook_id": self.webhook}),
                "webhook",
            ),
            (
                "/webhooks/update",
                json!({"webhook_id": self.webhook, "event_types": ["*"]}),
                "webhook",
            ),
            (
                "/webhooks/delete",
                json!({"webhook_id": self.webhook}),
                "webhook",
            ),
            ("/events/get", json!({"event_id": self.event}), "event"),
        ]
    }
}
