-- role: migrator
-- tier: prod
CREATE TABLE notes_new (id int); ALTER TABLE notes_new RENAME TO notes; CREATE INDEX ON notes (id)
