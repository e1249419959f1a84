-- What `search` looks through, by every three characters of it: credentials, users and user identities that were not deleted.
-- `store/search.rs` asks.

CREATE TABLE searchable (
    -- what the index calls it; a column of its own, since the row ids of other tables may change
    searchable_id INTEGER PRIMARY KEY,
    -- what it is: credential, user, identity
    kind          TEXT NOT NULL,
    object_id     TEXT NOT NULL,
    workspace_id  TEXT NOT NULL,
    text          TEXT NOT NULL,
    UNIQUE (object_id, kind)
) STRICT;

-- Which three characters, and not where: a row that is found so is looked at once more.
CREATE VIRTUAL TABLE searchable_index USING fts5(
    text, content = 'searchable', content_rowid = 'searchable_id', tokenize = 'trigram', detail = 'none', columnsize = 0
);
CREATE TRIGGER searchable_added AFTER INSERT ON searchable BEGIN
    INSERT INTO searchable_index (rowid, text) VALUES (new.searchable_id, new.text);
END;
CREATE TRIGGER searchable_removed AFTER DELETE ON searchable BEGIN
    INSERT INTO searchable_index (searchable_index, rowid, text) VALUES ('delete', old.searchable_id, old.text);
END;

CREATE TRIGGER credential_searchable AFTER INSERT ON credentials WHEN new.deleted_ms IS NULL BEGIN
    INSERT INTO searchable (kind, object_id, workspace_id, text) VALUES ('credential', new.acs_credential_id, new.workspace_id,
        new.display_name || ' ' || coalesce(new.card_number, new.registered_number, '') || ' ' || new.acs_credential_id);
END;
CREATE TRIGGER credential_searchable_anew
AFTER UPDATE OF display_name, card_number, registered_number, deleted_ms ON credentials
WHEN (new.display_name, new.card_number, new.registered_number, new.deleted_ms)
    IS NOT (old.display_name, old.card_number, old.registered_number, old.deleted_ms)
BEGIN
    DELETE FROM searchable WHERE object_id = old.acs_credential_id AND kind = 'credential';
    INSERT INTO searchable (kind, object_id, workspace_id, text) SELECT 'credential', new.acs_credential_id, new.workspace_id,
        new.display_name || ' ' || coalesce(new.card_number, new.registered_number, '') || ' ' || new.acs_credential_id
        WHERE new.deleted_ms IS NULL;
END;

CREATE TRIGGER user_searchable AFTER INSERT ON acs_users WHEN new.deleted_ms IS NULL BEGIN
    INSERT INTO searchable (kind, object_id, workspace_id, text) VALUES ('user', new.acs_user_id, new.workspace_id,
        new.full_name || ' ' || coalesce(new.phone_number, '') || ' ' || coalesce(new.email_address, '') || ' '
        || new.acs_user_id);
END;
CREATE TRIGGER user_searchable_anew AFTER UPDATE OF full_name, phone_number, email_address, deleted_ms ON acs_users
WHEN (new.full_name, new.phone_number, new.email_address, new.deleted_ms)
    IS NOT (old.full_name, old.phone_number, old.email_address, old.deleted_ms)
BEGIN
    DELETE FROM searchable WHERE object_id = old.acs_user_id AND kind = 'user';
    INSERT INTO searchable (kind, object_id, workspace_id, text) SELECT 'user', new.acs_user_id, new.workspace_id,
        new.full_name || ' ' || coalesce(new.phone_number, '') || ' ' || coalesce(new.email_address, '') || ' '
        || new.acs_user_id
        WHERE new.deleted_ms IS NULL;
END;

CREATE TRIGGER identity_searchable AFTER INSERT ON user_identities BEGIN
    INSERT INTO searchable (kind, object_id, workspace_id, text) VALUES ('identity', new.user_identity_id, new.workspace_id,
        coalesce(new.full_name, '') || ' ' || coalesce(new.phone_number, '') || ' ' || coalesce(new.email_address, '') || ' '
        || new.user_identity_id);
END;
CREATE TRIGGER identity_searchable_anew AFTER UPDATE OF full_name, phone_number, email_address ON user_identities
WHEN (new.full_name, new.phone_number, new.email_address) IS NOT (old.full_name, old.phone_number, old.email_address)
BEGIN
    DELETE FROM searchable WHERE object_id = old.user_identity_id AND kind = 'identity';
    INSERT INTO searchable (kind, object_id, workspace_id, text) VALUES ('identity', new.user_identity_id, new.workspace_id,
        coalesce(new.full_name, '') || ' ' || coalesce(new.phone_number, '') || ' ' || coalesce(new.email_address, '') || ' '
        || new.user_identity_id);
END;

INSERT INTO searchable (kind, object_id, workspace_id, text)
SELECT 'credential', acs_credential_id, workspace_id,
    display_name || ' ' || coalesce(card_number, registered_number, '') || ' ' || acs_credential_id
FROM credentials WHERE deleted_ms IS NULL;
INSERT INTO searchable (kind, object_id, workspace_id, text)
SELECT 'user', acs_user_id, workspace_id,
    full_name || ' ' || coalesce(phone_number, '') || ' ' || coalesce(email_address, '') || ' ' || acs_user_id
FROM acs_users WHERE deleted_ms IS NULL;
INSERT INTO searchable (kind, object_id, workspace_id, text)
SELECT 'identity', user_identity_id, workspace_id,
    coalesce(full_name, '') || ' ' || coalesce(phone_number, '') || ' ' || coalesce(email_address, '') || ' ' || user_identity_id
FROM user_identities;
