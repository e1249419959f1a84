-- What lists and lookups need at 100,000 credentials and a million events.

CREATE INDEX events_of_type ON events (workspace_id, event_type, created_ms, event_id);
CREATE INDEX events_of_user ON events (acs_user_id, created_ms, event_id) WHERE acs_user_id IS NOT NULL;
CREATE INDEX events_of_encoder ON events (acs_encoder_id, created_ms, event_id) WHERE acs_encoder_id IS NOT NULL;
CREATE INDEX events_of_entrance ON events (acs_entrance_id, created_ms, event_id) WHERE acs_entrance_id IS NOT NULL;

-- The card that carries a credential.
CREATE INDEX cards_by_credential ON cards (acs_credential_id);

-- A new person's users are found among those without a person by address and telephone number.
CREATE INDEX acs_users_by_email ON acs_users (acs_system_id, lower(email_address))
    WHERE user_identity_id IS NULL AND deleted_ms IS NULL;
CREATE INDEX acs_users_by_phone ON acs_users (acs_system_id, phone_number)
    WHERE user_identity_id IS NULL AND deleted_ms IS NULL;

CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (state, delivery_id);

-- A system shows how many users it has.
CREATE INDEX acs_users_counted ON acs_users (workspace_id, acs_system_id, deleted_ms);
