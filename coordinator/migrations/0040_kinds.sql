-- What makers of access systems add to entrances, credentials and scans. See SystemKind and ProviderMetadata.

-- for everybody, as a pool is, and no guest's own room
ALTER TABLE entrances ADD COLUMN is_common INTEGER NOT NULL DEFAULT 0 CHECK (is_common IN (0, 1));
-- JSON
ALTER TABLE credentials ADD COLUMN provider_metadata TEXT;
-- which tags the scan takes: see Tags; null where any card is taken
ALTER TABLE attempt_aims ADD COLUMN tags TEXT CHECK (tags IN ('registered', 'new'));
-- what goes with the job for encoders that make keys themselves, as JSON
ALTER TABLE jobs ADD COLUMN content TEXT;
