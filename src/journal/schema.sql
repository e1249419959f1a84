-- The agent's journal, version 1. Times are microseconds since 1970-01-01 UTC, durations are microseconds.

CREATE TABLE agent (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    agent_id      TEXT    NOT NULL,
    last_sequence INTEGER NOT NULL DEFAULT 0,
    store_id      TEXT
);

-- One row per job for its whole life: accepted, started, finished, acknowledged. A job that was cancelled before it ever
-- came has an outcome and nothing else.
CREATE TABLE jobs (
    accepted_order  INTEGER PRIMARY KEY,
    job_id          TEXT    NOT NULL UNIQUE,
    encoder_key     TEXT,
    kind            TEXT,
    credential_id   TEXT,
    created_at      INTEGER,
    deadline        INTEGER,
    server_offset   INTEGER,
    card_wait       INTEGER,
    n               INTEGER NOT NULL DEFAULT 0,
    cards           TEXT    NOT NULL DEFAULT '[]',
    started_n       INTEGER,
    started_card    TEXT,
    sequence        INTEGER,
    finished        TEXT,
    contents        TEXT,
    acknowledged_at INTEGER
);
CREATE INDEX jobs_sequence ON jobs (sequence);
CREATE INDEX jobs_open ON jobs (accepted_order) WHERE finished IS NULL;
CREATE INDEX jobs_unacknowledged ON jobs (sequence) WHERE finished IS NOT NULL AND acknowledged_at IS NULL;
CREATE INDEX jobs_acknowledged ON jobs (acknowledged_at) WHERE acknowledged_at IS NOT NULL;

-- The cards that must leave an encoder's field first.
CREATE TABLE guards (
    encoder_key TEXT PRIMARY KEY,
    guards      TEXT NOT NULL
);
