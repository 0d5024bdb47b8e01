-- role: engineer
-- tier: prod
-- rule: unbounded-write
DELETE FROM email_drafts;
