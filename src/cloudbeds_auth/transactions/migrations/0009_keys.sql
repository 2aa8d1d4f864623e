-- The move of a hotel to an API key: how far it has come (NULL: none is under way), and under which client id.
ALTER TABLE grants ADD COLUMN migration TEXT;
ALTER TABLE grants ADD COLUMN migration_client TEXT;
