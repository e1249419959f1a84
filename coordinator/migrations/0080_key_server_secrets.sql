-- The key server's earlier signing key, sealed as the current one: while it is there, questions are signed with both.
ALTER TABLE key_servers ADD COLUMN earlier_sealed BLOB;
