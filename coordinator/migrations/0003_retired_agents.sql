-- When the operator said that the agent never comes back. Its token is revoked as well.
ALTER TABLE agents ADD COLUMN retired_ms INTEGER;
