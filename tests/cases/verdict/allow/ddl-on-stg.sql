-- role: engineer
-- tier: stg
CREATE INDEX ON email_drafts (status);
