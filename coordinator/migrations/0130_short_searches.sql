-- The three characters that the index of `search` knows, in their order: whether anything begins with one or two characters.
CREATE VIRTUAL TABLE searchable_pieces USING fts5vocab(searchable_index, instance);
