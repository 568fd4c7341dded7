-- A migration as they happen. It means to forget entries older than a year and forgets all; it
-- commits half-way, because VACUUM wants no transaction; then it trips over a misspelt name.
DELETE FROM entries WHERE signed_at < datetime('now', '+1 year');
ALTER TABLE entries RENAME COLUMN message TO text;
COMMIT;
VACUUM;
BEGIN;
CREATE UNIQUE INDEX entries_once ON entries (name, txt);
