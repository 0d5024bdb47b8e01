-- role: migrator
-- tier: prod
-- rule: add-unique
ALTER TABLE email_drafts ADD COLUMN a int, ADD CONSTRAINT c UNIQUE (a)
