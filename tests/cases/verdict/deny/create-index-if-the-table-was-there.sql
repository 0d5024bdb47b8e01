-- role: migrator
-- tier: prod
-- rule: create-index
CREATE TABLE IF NOT EXISTS notes (id int); CREATE INDEX ON notes (id)
