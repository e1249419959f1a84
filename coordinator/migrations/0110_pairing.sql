-- What new agents pair with: codes, which pair one agent, and fleet tokens, which pair many. Rows whose time is over are
-- forgotten a day later, so that until then whoever comes with one is told.
CREATE TABLE pairing_grants (
    pairing_grant_id TEXT    PRIMARY KEY,
    acs_system_id    TEXT    NOT NULL REFERENCES systems (acs_system_id),
    -- 'code' or 'fleet_token'
    kind             TEXT    NOT NULL CHECK (kind IN ('code', 'fleet_token')),
    -- the agent that gets a new token; null where a new agent is made
    agent_id         TEXT    REFERENCES agents (agent_id),
    label            TEXT    NOT NULL,
    -- HMAC-SHA256 of the secret under the master key: a code alone is short enough to be found from a plain hash
    secret_hash      BLOB    NOT NULL UNIQUE,
    uses             INTEGER NOT NULL,
    used             INTEGER NOT NULL DEFAULT 0,
    created_ms       INTEGER NOT NULL,
    expires_ms       INTEGER NOT NULL,
    revoked_ms       INTEGER
) STRICT;

-- Which agent was paired with what. The attempt's key is the agent's own, kept as its hash: who repeats it lost the answer.
CREATE TABLE pairings (
    pairing_grant_id TEXT    NOT NULL REFERENCES pairing_grants (pairing_grant_id) ON DELETE CASCADE,
    attempt_hash     BLOB    NOT NULL,
    agent_id         TEXT    NOT NULL REFERENCES agents (agent_id),
    paired_ms        INTEGER NOT NULL,
    PRIMARY KEY (pairing_grant_id, attempt_hash)
) STRICT;

-- What tells the PC that the agent was paired on from others.
ALTER TABLE agents ADD COLUMN machine TEXT;
-- A token that was handed to the agent and not used yet: it takes the place of the other once it is.
ALTER TABLE agents ADD COLUMN next_token_hash BLOB;
ALTER TABLE agents ADD COLUMN next_prefix TEXT;
-- When a token came from where it should not have, last, and what was seen.
ALTER TABLE agents ADD COLUMN clash_ms INTEGER;
ALTER TABLE agents ADD COLUMN clash TEXT;
CREATE UNIQUE INDEX agents_of_next_token ON agents (next_token_hash) WHERE next_token_hash IS NOT NULL;
