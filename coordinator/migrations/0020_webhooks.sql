-- Webhooks, and the events on their way to them. Ids and times as in 0001.

CREATE TABLE webhooks (
    webhook_id   TEXT    PRIMARY KEY,
    workspace_id TEXT    NOT NULL REFERENCES workspaces (workspace_id),
    url          TEXT    NOT NULL,
    -- a JSON list of event types; `*` stands for all
    event_types  TEXT    NOT NULL,
    -- the signing secret, sealed under the master key
    sealed       BLOB    NOT NULL,
    created_ms   INTEGER NOT NULL
) STRICT;
CREATE INDEX webhooks_of_workspace ON webhooks (workspace_id, webhook_id);

-- Written in the transaction that records the event. Ids count in the order of the commits.
CREATE TABLE webhook_deliveries (
    delivery_id INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook_id  TEXT    NOT NULL REFERENCES webhooks (webhook_id) ON DELETE CASCADE,
    event_id    TEXT    NOT NULL REFERENCES events (event_id),
    -- what the event is about: deliveries of one object to one webhook go in order
    object      TEXT    NOT NULL,
    -- queued: behind another of the same object · pending: to be sent when it is due · delivered, failed: ended
    state       TEXT    NOT NULL CHECK (state IN ('queued', 'pending', 'delivered', 'failed')),
    -- how often it was sent
    attempts    INTEGER NOT NULL DEFAULT 0,
    due_ms      INTEGER NOT NULL,
    -- when it was sent last, and what came of it
    last_ms     INTEGER,
    last_status INTEGER,
    last_error  TEXT
) STRICT;
CREATE INDEX webhook_deliveries_of_webhook ON webhook_deliveries (webhook_id, delivery_id);
CREATE INDEX webhook_deliveries_of_event ON webhook_deliveries (event_id, delivery_id);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_ms, delivery_id) WHERE state = 'pending';
CREATE UNIQUE INDEX webhook_deliveries_first ON webhook_deliveries (webhook_id, object) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_next ON webhook_deliveries (webhook_id, object, delivery_id) WHERE state = 'queued';
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (state, last_ms) WHERE state IN ('delivered', 'failed');
