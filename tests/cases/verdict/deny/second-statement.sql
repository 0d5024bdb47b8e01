-- role: service
-- tier: prod
-- rule: unbounded-write
SELECT 1; DELETE FROM email_drafts
