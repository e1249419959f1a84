-- Since when the agent is connected; null while it is not. A starting service knows of no session.
ALTER TABLE agents ADD COLUMN connected_ms INTEGER;
-- The SHA-256 of the public key of the certificate that the service encrypts with; null where it does not encrypt itself.
ALTER TABLE store_meta ADD COLUMN key_fingerprint TEXT;
