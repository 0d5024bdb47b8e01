-- role: migrator
-- tier: prod
CREATE TABLE notes (id int); COMMIT; CREATE INDEX ON notes (id)
