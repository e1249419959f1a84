-- Personal access tokens: each opens the workspaces that it was made for, and a request says which one it means.

CREATE TABLE personal_access_tokens (
    personal_access_token_id TEXT    PRIMARY KEY,
    label                    TEXT    NOT NULL,
    -- the first characters of the token, to tell tokens apart; never enough to use one
    prefix                   TEXT    NOT NULL,
    token_hash               BLOB    NOT NULL UNIQUE,
    vocabulary               TEXT    NOT NULL CHECK (vocabulary IN ('guide', 'types')),
    created_ms               INTEGER NOT NULL,
    revoked_ms               INTEGER
) STRICT;

CREATE TABLE personal_access_token_workspaces (
    personal_access_token_id TEXT NOT NULL REFERENCES personal_access_tokens (personal_access_token_id),
    workspace_id             TEXT NOT NULL REFERENCES workspaces (workspace_id),
    PRIMARY KEY (personal_access_token_id, workspace_id)
) STRICT, WITHOUT ROWID;
