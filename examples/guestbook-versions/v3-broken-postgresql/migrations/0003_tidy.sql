-- A migration as they happen. It means to forget entries older than a year and forgets all; it
-- commits half-way; then it trips over a misspelt name.
DELETE FROM entries WHERE signed_at < to_char(now() + interval '1 year', 'YYYY-MM-DD');
ALTER TABLE entries RENAME COLUMN message TO text;
COMMIT;
BEGIN;
CREATE UNIQUE INDEX entries_once ON entries (name, txt);
