-- role: service
-- tier: prod
-- verdict: guarded
INSERT INTO email_drafts (id) VALUES (1);
