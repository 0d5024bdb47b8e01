-- role: migrator
-- tier: stg
-- notice: create-index
CREATE INDEX ON email_drafts (status)
