-- Entries from before moods have none.
ALTER TABLE entries ADD COLUMN mood TEXT NOT NULL DEFAULT '';
