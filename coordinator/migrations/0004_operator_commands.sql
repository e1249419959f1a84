-- What the operator asked for on the command line, for the process that decides: the running service, or the command
-- itself where none runs. Done rows stay until the next command.
CREATE TABLE operator_commands (
    command_id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- JSON
    command    TEXT    NOT NULL,
    asked_ms   INTEGER NOT NULL,
    -- JSON; null while it waits
    answer     TEXT
) STRICT;
CREATE INDEX operator_commands_waiting ON operator_commands (command_id) WHERE answer IS NULL;
