-- role: migrator
-- tier: prod
-- rule: create-index
BEGIN; SAVEPOINT a; CREATE TABLE notes (id int); ROLLBACK TO a; CREATE INDEX ON notes (id)
