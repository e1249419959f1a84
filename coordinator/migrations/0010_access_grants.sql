-- User identities, spaces, access grants with their access methods, and cards that were registered before. Ids and
-- times as in 0001.

CREATE TABLE user_identities (
    user_identity_id  TEXT    PRIMARY KEY,
    workspace_id      TEXT    NOT NULL REFERENCES workspaces (workspace_id),
    user_identity_key TEXT,
    full_name         TEXT,
    email_address     TEXT,
    phone_number      TEXT,
    created_ms        INTEGER NOT NULL
) STRICT;
CREATE INDEX user_identities_of_workspace ON user_identities (workspace_id, user_identity_id);
CREATE UNIQUE INDEX user_identities_by_key ON user_identities (workspace_id, user_identity_key);
CREATE UNIQUE INDEX user_identities_by_email ON user_identities (workspace_id, lower(email_address));
CREATE UNIQUE INDEX user_identities_by_phone ON user_identities (workspace_id, phone_number);

ALTER TABLE acs_users ADD COLUMN user_identity_id TEXT REFERENCES user_identities (user_identity_id);
-- deleted users stay, for the audit and for credentials that name them
ALTER TABLE acs_users ADD COLUMN deleted_ms INTEGER;
CREATE UNIQUE INDEX acs_users_of_identity ON acs_users (user_identity_id, acs_system_id)
    WHERE user_identity_id IS NOT NULL AND deleted_ms IS NULL;

-- how the system's cards come to be: see SystemKind
ALTER TABLE systems ADD COLUMN kind TEXT NOT NULL DEFAULT 'embedded';

-- A credential may be nobody's: unassigned, or a registered card that waits for its user.
ALTER TABLE credentials ADD COLUMN owner_id TEXT REFERENCES acs_users (acs_user_id);
UPDATE credentials SET owner_id = acs_user_id;
DROP INDEX credentials_of_user;
ALTER TABLE credentials DROP COLUMN acs_user_id;
ALTER TABLE credentials RENAME COLUMN owner_id TO acs_user_id;
CREATE INDEX credentials_of_user ON credentials (acs_user_id, acs_credential_id) WHERE deleted_ms IS NULL;
-- the job that wrote the card; its binding tells what the card carries
ALTER TABLE credentials ADD COLUMN issued_job_id TEXT;
-- the number of a card that was registered before: it is assigned, never encoded
ALTER TABLE credentials ADD COLUMN registered_number TEXT;
CREATE UNIQUE INDEX credentials_by_registered_number ON credentials (acs_system_id, lower(registered_number))
    WHERE registered_number IS NOT NULL AND deleted_ms IS NULL;
CREATE INDEX credential_entrances_by_entrance ON credential_entrances (acs_entrance_id);

CREATE TABLE spaces (
    space_id      TEXT    PRIMARY KEY,
    workspace_id  TEXT    NOT NULL REFERENCES workspaces (workspace_id),
    space_key     TEXT,
    name          TEXT    NOT NULL,
    -- JSON
    customer_data TEXT,
    created_ms    INTEGER NOT NULL
) STRICT;
CREATE INDEX spaces_of_workspace ON spaces (workspace_id, space_id);
CREATE UNIQUE INDEX spaces_by_key ON spaces (workspace_id, space_key);

CREATE TABLE space_entrances (
    space_id        TEXT NOT NULL REFERENCES spaces (space_id) ON DELETE CASCADE,
    acs_entrance_id TEXT NOT NULL REFERENCES entrances (acs_entrance_id),
    PRIMARY KEY (space_id, acs_entrance_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX space_entrances_by_entrance ON space_entrances (acs_entrance_id);

-- Deleted grants and access methods stay, so that a late outcome still finds them.
CREATE TABLE access_grants (
    access_grant_id  TEXT    PRIMARY KEY,
    workspace_id     TEXT    NOT NULL REFERENCES workspaces (workspace_id),
    user_identity_id TEXT    NOT NULL REFERENCES user_identities (user_identity_id),
    access_grant_key TEXT,
    reservation_key  TEXT,
    name             TEXT,
    starts_ms        INTEGER NOT NULL,
    ends_ms          INTEGER,
    created_ms       INTEGER NOT NULL,
    deleted_ms       INTEGER
) STRICT;
CREATE INDEX access_grants_of_workspace ON access_grants (workspace_id, access_grant_id) WHERE deleted_ms IS NULL;
CREATE INDEX access_grants_of_identity ON access_grants (user_identity_id, access_grant_id) WHERE deleted_ms IS NULL;
CREATE UNIQUE INDEX access_grants_by_key ON access_grants (workspace_id, access_grant_key) WHERE deleted_ms IS NULL;
CREATE INDEX access_grants_by_reservation ON access_grants (workspace_id, reservation_key, access_grant_id)
    WHERE deleted_ms IS NULL;

CREATE TABLE grant_entrances (
    access_grant_id TEXT NOT NULL REFERENCES access_grants (access_grant_id),
    acs_entrance_id TEXT NOT NULL REFERENCES entrances (acs_entrance_id),
    PRIMARY KEY (access_grant_id, acs_entrance_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX grant_entrances_by_entrance ON grant_entrances (acs_entrance_id);

CREATE TABLE grant_spaces (
    access_grant_id TEXT NOT NULL REFERENCES access_grants (access_grant_id),
    space_id        TEXT NOT NULL REFERENCES spaces (space_id) ON DELETE CASCADE,
    PRIMARY KEY (access_grant_id, space_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX grant_spaces_by_space ON grant_spaces (space_id);

-- The access methods that a grant asks for, in order. Each leads to one access method per access system.
CREATE TABLE requested_access_methods (
    access_grant_id TEXT    NOT NULL REFERENCES access_grants (access_grant_id),
    position        INTEGER NOT NULL,
    created_ms      INTEGER NOT NULL,
    PRIMARY KEY (access_grant_id, position)
) STRICT, WITHOUT ROWID;

-- One access method is one card of one system. What is on that card is its credential's matter alone.
CREATE TABLE access_methods (
    access_method_id  TEXT    PRIMARY KEY,
    workspace_id      TEXT    NOT NULL REFERENCES workspaces (workspace_id),
    access_grant_id   TEXT    NOT NULL REFERENCES access_grants (access_grant_id),
    -- which request it comes from
    position          INTEGER NOT NULL,
    acs_system_id     TEXT    NOT NULL REFERENCES systems (acs_system_id),
    -- null until a registered card is assigned
    acs_credential_id TEXT REFERENCES credentials (acs_credential_id),
    created_ms        INTEGER NOT NULL,
    deleted_ms        INTEGER
) STRICT;
CREATE INDEX access_methods_of_workspace ON access_methods (workspace_id, access_method_id) WHERE deleted_ms IS NULL;
CREATE INDEX access_methods_of_grant ON access_methods (access_grant_id, access_method_id);
CREATE UNIQUE INDEX access_methods_by_credential ON access_methods (acs_credential_id) WHERE deleted_ms IS NULL;

-- What an action attempt is about where its job alone does not tell.
CREATE TABLE attempt_aims (
    action_attempt_id TEXT PRIMARY KEY REFERENCES action_attempts (action_attempt_id),
    -- encode this access method
    access_method_id  TEXT REFERENCES access_methods (access_method_id),
    -- assign the scanned card to this user
    acs_user_id       TEXT REFERENCES acs_users (acs_user_id),
    -- the access method as it stood when the attempt succeeded, as JSON
    access_method     TEXT
) STRICT, WITHOUT ROWID;

ALTER TABLE events ADD COLUMN access_grant_id TEXT;
ALTER TABLE events ADD COLUMN access_method_id TEXT;
ALTER TABLE events ADD COLUMN acs_entrance_id TEXT;
-- what else the event says, as JSON
ALTER TABLE events ADD COLUMN details TEXT;
CREATE INDEX events_of_grant ON events (workspace_id, access_grant_id, created_ms, event_id);
CREATE INDEX events_of_method ON events (workspace_id, access_method_id, created_ms, event_id);
