-- The key servers that make the images of a system's cards. What they are asked is signed.

CREATE TABLE key_servers (
    acs_system_id TEXT    PRIMARY KEY REFERENCES systems (acs_system_id),
    url           TEXT    NOT NULL,
    -- the signing key, sealed under the master key
    sealed        BLOB    NOT NULL,
    created_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
