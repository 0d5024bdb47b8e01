-- role: migrator
-- tier: prod
ALTER TABLE email_drafts ADD COLUMN seen timestamptz DEFAULT (now() + interval '1 day') NOT NULL
