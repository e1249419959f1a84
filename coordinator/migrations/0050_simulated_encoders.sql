-- Encoders that no agent has, to try the API without hardware: in sandbox workspaces only. See Simulation.

ALTER TABLE encoders ADD COLUMN simulated INTEGER NOT NULL DEFAULT 0 CHECK (simulated IN (0, 1));
ALTER TABLE jobs ADD COLUMN simulated INTEGER NOT NULL DEFAULT 0 CHECK (simulated IN (0, 1));

-- What comes of the next job of a kind on a simulated encoder, where that was said.
CREATE TABLE next_simulations (
    acs_encoder_id TEXT NOT NULL REFERENCES encoders (acs_encoder_id),
    kind           TEXT NOT NULL CHECK (kind IN ('encode', 'scan')),
    -- JSON
    simulation     TEXT NOT NULL,
    PRIMARY KEY (acs_encoder_id, kind)
) STRICT, WITHOUT ROWID;

-- What comes of a job on a simulated encoder.
CREATE TABLE job_simulations (
    job_id     TEXT PRIMARY KEY REFERENCES jobs (job_id),
    -- JSON
    simulation TEXT NOT NULL
) STRICT, WITHOUT ROWID;
