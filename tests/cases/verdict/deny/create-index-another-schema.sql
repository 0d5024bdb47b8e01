-- role: migrator
-- tier: prod
-- rule: create-index
CREATE TABLE email_drafts (id int); SET search_path TO other; CREATE INDEX ON email_drafts (id)
