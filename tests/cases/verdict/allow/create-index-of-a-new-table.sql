-- role: migrator
-- tier: prod
BEGIN; CREATE TABLE app.notes (id int, "Project" int); CREATE INDEX ON app.notes (id); ALTER TABLE ONLY app.notes ADD PRIMARY KEY (id), ADD FOREIGN KEY ("Project") REFERENCES projects (id); COMMIT
