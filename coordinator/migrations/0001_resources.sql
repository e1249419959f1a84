-- Resources of the HTTP API. Ids are UUIDs in lower-case text (version 7, so they sort by creation), times are unix milliseconds.

CREATE TABLE store_meta (
    only_row          INTEGER PRIMARY KEY CHECK (only_row = 1),
    store_id          TEXT    NOT NULL,
    created_ms        INTEGER NOT NULL,
    -- a known text sealed under the master key: tells a wrong key file from a right one
    key_check         BLOB    NOT NULL,
    demo_workspace_id TEXT REFERENCES workspaces (workspace_id)
) STRICT;

CREATE TABLE workspaces (
    workspace_id TEXT    PRIMARY KEY,
    name         TEXT    NOT NULL,
    company_name TEXT    NOT NULL,
    is_sandbox   INTEGER NOT NULL CHECK (is_sandbox IN (0, 1)),
    created_ms   INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    api_key_id   TEXT    PRIMARY KEY,
    workspace_id TEXT    NOT NULL REFERENCES workspaces (workspace_id),
    label        TEXT    NOT NULL,
    -- the first characters of the key, to tell keys apart; never enough to use one
    prefix       TEXT    NOT NULL,
    key_hash     BLOB    NOT NULL UNIQUE,
    vocabulary   TEXT    NOT NULL CHECK (vocabulary IN ('guide', 'types')),
    created_ms   INTEGER NOT NULL,
    revoked_ms   INTEGER
) STRICT;
CREATE INDEX api_keys_of_workspace ON api_keys (workspace_id, api_key_id);

CREATE TABLE systems (
    acs_system_id        TEXT    PRIMARY KEY,
    workspace_id         TEXT    NOT NULL REFERENCES workspaces (workspace_id),
    connected_account_id TEXT    NOT NULL UNIQUE,
    name                 TEXT    NOT NULL,
    time_zone            TEXT,
    next_entrance_number INTEGER NOT NULL DEFAULT 1,
    created_ms           INTEGER NOT NULL
) STRICT;
CREATE INDEX systems_of_workspace ON systems (workspace_id, acs_system_id);

CREATE TABLE site_keys (
    acs_system_id TEXT    NOT NULL REFERENCES systems (acs_system_id),
    version       INTEGER NOT NULL CHECK (version BETWEEN 1 AND 255),
    sealed        BLOB    NOT NULL,
    created_ms    INTEGER NOT NULL,
    PRIMARY KEY (acs_system_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE entrances (
    acs_entrance_id TEXT    PRIMARY KEY,
    workspace_id    TEXT    NOT NULL REFERENCES workspaces (workspace_id),
    acs_system_id   TEXT    NOT NULL REFERENCES systems (acs_system_id),
    -- what stands for the entrance on a card
    number          INTEGER NOT NULL CHECK (number BETWEEN 1 AND 65535),
    display_name    TEXT    NOT NULL,
    created_ms      INTEGER NOT NULL,
    UNIQUE (acs_system_id, number)
) STRICT;
CREATE INDEX entrances_of_workspace ON entrances (workspace_id, acs_entrance_id);
CREATE INDEX entrances_of_system ON entrances (workspace_id, acs_system_id, acs_entrance_id);

CREATE TABLE acs_users (
    acs_user_id      TEXT    PRIMARY KEY,
    workspace_id     TEXT    NOT NULL REFERENCES workspaces (workspace_id),
    acs_system_id    TEXT    NOT NULL REFERENCES systems (acs_system_id),
    full_name        TEXT    NOT NULL,
    email_address    TEXT,
    phone_number     TEXT,
    access_starts_ms INTEGER,
    access_ends_ms   INTEGER,
    created_ms       INTEGER NOT NULL
) STRICT;
CREATE INDEX acs_users_of_workspace ON acs_users (workspace_id, acs_user_id);
CREATE INDEX acs_users_of_system ON acs_users (workspace_id, acs_system_id, acs_user_id);

CREATE TABLE credentials (
    acs_credential_id TEXT    PRIMARY KEY,
    workspace_id      TEXT    NOT NULL REFERENCES workspaces (workspace_id),
    acs_system_id     TEXT    NOT NULL REFERENCES systems (acs_system_id),
    acs_user_id       TEXT    NOT NULL REFERENCES acs_users (acs_user_id),
    display_name      TEXT    NOT NULL,
    starts_ms         INTEGER,
    ends_ms           INTEGER,
    created_ms        INTEGER NOT NULL,
    -- counts every change of what belongs on the card
    content_version   INTEGER NOT NULL DEFAULT 1,
    changed_ms        INTEGER NOT NULL,
    -- the content version that a card carries, and which card
    issued_version    INTEGER,
    issued_ms         INTEGER,
    card_uid          TEXT,
    card_number       TEXT,
    -- deleted credentials stay, so that a late outcome or a scanned card still finds them
    deleted_ms        INTEGER
) STRICT;
CREATE INDEX credentials_of_workspace ON credentials (workspace_id, acs_credential_id) WHERE deleted_ms IS NULL;
CREATE INDEX credentials_of_system ON credentials (workspace_id, acs_system_id, acs_credential_id) WHERE deleted_ms IS NULL;
CREATE INDEX credentials_of_user ON credentials (acs_user_id, acs_credential_id) WHERE deleted_ms IS NULL;

CREATE TABLE credential_entrances (
    acs_credential_id TEXT NOT NULL REFERENCES credentials (acs_credential_id),
    acs_entrance_id   TEXT NOT NULL REFERENCES entrances (acs_entrance_id),
    PRIMARY KEY (acs_credential_id, acs_entrance_id)
) STRICT, WITHOUT ROWID;

-- Which credential each card of a system was last written with.
CREATE TABLE cards (
    acs_system_id     TEXT    NOT NULL REFERENCES systems (acs_system_id),
    uid               TEXT    NOT NULL,
    acs_credential_id TEXT    NOT NULL REFERENCES credentials (acs_credential_id),
    written_ms        INTEGER NOT NULL,
    PRIMARY KEY (acs_system_id, uid)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    event_id             TEXT    PRIMARY KEY,
    workspace_id         TEXT    NOT NULL REFERENCES workspaces (workspace_id),
    event_type           TEXT    NOT NULL,
    description          TEXT    NOT NULL,
    created_ms           INTEGER NOT NULL,
    occurred_ms          INTEGER NOT NULL,
    acs_system_id        TEXT,
    connected_account_id TEXT,
    acs_credential_id    TEXT,
    acs_encoder_id       TEXT,
    acs_user_id          TEXT
) STRICT;
CREATE INDEX events_by_time ON events (workspace_id, created_ms, event_id);
CREATE INDEX events_of_credential ON events (workspace_id, acs_credential_id, created_ms, event_id);
CREATE INDEX events_of_system ON events (workspace_id, acs_system_id, created_ms, event_id);

-- Who had which card written or read, and who changed what. Rows are never changed nor deleted.
CREATE TABLE audit (
    audit_id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms             INTEGER NOT NULL,
    action            TEXT    NOT NULL,
    workspace_id      TEXT,
    acs_system_id     TEXT,
    api_key_id        TEXT,
    agent_id          TEXT,
    acs_encoder_id    TEXT,
    job_id            TEXT,
    acs_credential_id TEXT,
    card_uid          TEXT,
    outcome           TEXT,
    detail            TEXT
) STRICT;
CREATE INDEX audit_by_time ON audit (at_ms, audit_id);
CREATE INDEX audit_of_credential ON audit (acs_credential_id, audit_id);
CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE (ABORT, 'audit rows are never changed');
END;
CREATE TRIGGER audit_never_forgets BEFORE DELETE ON audit
BEGIN
    SELECT RAISE (ABORT, 'audit rows are never deleted');
END;
