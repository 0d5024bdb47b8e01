-- role: service
-- tier: prod
-- verdict: guarded
DELETE FROM email_drafts WHERE id = 1;
