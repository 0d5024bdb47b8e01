-- role: engineer
-- tier: int
-- verdict: allow
-- notice: unbounded-write
DELETE FROM email_drafts;
