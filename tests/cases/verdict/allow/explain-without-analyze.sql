-- role: service
-- tier: prod
-- verdict: allow
EXPLAIN DELETE FROM email_drafts;
