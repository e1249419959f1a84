-- Agents, their encoders, and the jobs that go to them. Ids and times as in 0001.

CREATE TABLE agents (
    agent_id      TEXT    PRIMARY KEY,
    acs_system_id TEXT    NOT NULL REFERENCES systems (acs_system_id),
    name          TEXT    NOT NULL,
    -- the first characters of the token, to tell tokens apart; never enough to use one
    prefix        TEXT    NOT NULL,
    token_hash    BLOB    NOT NULL UNIQUE,
    -- the id that the agent gave itself, as its last hello said
    own_id        TEXT,
    -- the last outcome stored
    last_sequence INTEGER NOT NULL DEFAULT 0,
    created_ms    INTEGER NOT NULL,
    revoked_ms    INTEGER
) STRICT;
CREATE INDEX agents_of_system ON agents (acs_system_id, agent_id);

CREATE TABLE encoders (
    acs_encoder_id TEXT    PRIMARY KEY,
    acs_system_id  TEXT    NOT NULL REFERENCES systems (acs_system_id),
    encoder_key    TEXT    NOT NULL,
    key_scope      TEXT    NOT NULL CHECK (key_scope IN ('system', 'agent')),
    -- the agent within which the key counts; null where it counts within the system
    key_agent_id   TEXT REFERENCES agents (agent_id),
    display_name   TEXT,
    adopted        INTEGER NOT NULL CHECK (adopted IN (0, 1)),
    created_ms     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX encoders_by_key ON encoders (acs_system_id, encoder_key, coalesce(key_agent_id, ''));

-- Where an encoder is or was. The newest listed place of a connected agent counts.
CREATE TABLE encoder_places (
    acs_encoder_id TEXT    NOT NULL REFERENCES encoders (acs_encoder_id),
    agent_id       TEXT    NOT NULL REFERENCES agents (agent_id),
    listed         INTEGER NOT NULL CHECK (listed IN (0, 1)),
    since_ms       INTEGER NOT NULL,
    -- what the agent told, as JSON
    description    TEXT    NOT NULL,
    PRIMARY KEY (acs_encoder_id, agent_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE action_attempts (
    action_attempt_id TEXT    PRIMARY KEY,
    workspace_id      TEXT    NOT NULL REFERENCES workspaces (workspace_id),
    action_type       TEXT    NOT NULL,
    status            TEXT    NOT NULL CHECK (status IN ('pending', 'success', 'error')),
    -- JSON
    result            TEXT,
    error             TEXT,
    created_ms        INTEGER NOT NULL
) STRICT;
CREATE INDEX action_attempts_of_workspace ON action_attempts (workspace_id, action_attempt_id);
CREATE TRIGGER action_attempts_end_once BEFORE UPDATE ON action_attempts WHEN old.status <> 'pending'
BEGIN
    SELECT RAISE (ABORT, 'an ended action attempt never changes');
END;

-- A job has the id of its action attempt.
CREATE TABLE jobs (
    job_id            TEXT    PRIMARY KEY REFERENCES action_attempts (action_attempt_id),
    kind              TEXT    NOT NULL CHECK (kind IN ('encode', 'scan')),
    acs_system_id     TEXT    NOT NULL REFERENCES systems (acs_system_id),
    acs_encoder_id    TEXT    NOT NULL REFERENCES encoders (acs_encoder_id),
    encoder_key       TEXT    NOT NULL,
    agent_id          TEXT REFERENCES agents (agent_id),
    acs_credential_id TEXT REFERENCES credentials (acs_credential_id),
    api_key_id        TEXT,
    created_ms        INTEGER NOT NULL,
    deadline_ms       INTEGER NOT NULL,
    card_wait_ms      INTEGER NOT NULL,
    sent              INTEGER NOT NULL CHECK (sent IN (0, 1)),
    pinned            INTEGER NOT NULL CHECK (pinned IN (0, 1)),
    awaited           INTEGER NOT NULL CHECK (awaited IN (0, 1)),
    -- the error that it was cancelled with, as JSON
    cancelled         TEXT,
    -- what it did to cards, once its outcome was taken
    touched           TEXT CHECK (touched IN ('untouched', 'unknown', 'written')),
    -- 1 while more than a message that names it could change it
    unsettled         INTEGER NOT NULL CHECK (unsettled IN (0, 1))
) STRICT;
CREATE INDEX jobs_unsettled ON jobs (job_id) WHERE unsettled = 1;
CREATE INDEX jobs_of_credential ON jobs (acs_credential_id, job_id);

-- Every card that a job was bound to; the highest presentation counts. Rows never change, so that a plan is the same
-- bytes whenever it is made.
CREATE TABLE bindings (
    job_id     TEXT    NOT NULL REFERENCES jobs (job_id),
    n          INTEGER NOT NULL,
    -- the card as the agent described it, as JSON
    card       TEXT    NOT NULL,
    session_id TEXT    NOT NULL,
    boot_id    TEXT    NOT NULL,
    -- what the plan is made of besides keys, as JSON; null for a scan
    content    TEXT,
    PRIMARY KEY (job_id, n)
) STRICT, WITHOUT ROWID;

-- A credential's tie to a card. The job may be one that the store does not know.
CREATE TABLE holds (
    job_id            TEXT NOT NULL,
    acs_credential_id TEXT NOT NULL,
    -- empty where it is not known which card, so that none fits
    uid               TEXT NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('bound', 'unknown', 'written')),
    PRIMARY KEY (job_id, acs_credential_id, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_of_credential ON holds (acs_credential_id);

-- Jobs that agents named and the store does not know, for example after a restore.
CREATE TABLE orphans (
    job_id            TEXT    PRIMARY KEY,
    agent_id          TEXT    NOT NULL REFERENCES agents (agent_id),
    kind              TEXT    NOT NULL CHECK (kind IN ('encode', 'scan')),
    acs_credential_id TEXT,
    uid               TEXT,
    -- null while the agent lists it as open
    outcome           TEXT CHECK (outcome IN ('success', 'error')),
    touched           TEXT CHECK (touched IN ('untouched', 'unknown', 'written')),
    seen_ms           INTEGER NOT NULL
) STRICT;
CREATE INDEX orphans_open ON orphans (job_id) WHERE outcome IS NULL;

-- Set in a backup's copy: whoever starts from it goes on as a restored store.
CREATE TABLE copy_stamp (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    taken_ms INTEGER NOT NULL
) STRICT;

-- A store that was started from a copy, and the agents it has not heard since.
CREATE TABLE restored (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    -- the copy contains the credentials made until then
    until_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE awaited_agents (
    agent_id TEXT PRIMARY KEY REFERENCES agents (agent_id)
) STRICT, WITHOUT ROWID;
