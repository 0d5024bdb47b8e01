-- role: service
-- tier: prod
-- rule: unbounded-write
DO $$ BEGIN DELETE FROM email_drafts; END $$;
