-- role: engineer
-- tier: int
-- verdict: allow
TRUNCATE email_drafts CASCADE;
