-- What became of a one-time link.

-- The connection whose API key came by it; of an approval that came by it, its authorization says so.
ALTER TABLE links ADD COLUMN outcome TEXT;

-- An app that is to be registered with it first (JSON): the hotel enters client id and secret. Null: none, or it was.
ALTER TABLE links ADD COLUMN registration TEXT;
