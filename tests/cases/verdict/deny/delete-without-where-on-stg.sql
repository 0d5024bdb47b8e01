-- role: service
-- tier: stg
-- rule: unbounded-write
-- hint: app:int first
DELETE FROM email_drafts;
