-- role: service
-- tier: prod
-- verdict: guarded
INSERT INTO email_drafts TABLE drafts_to_keep;
