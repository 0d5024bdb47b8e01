-- role: service
-- tier: prod
-- rule: unbounded-write
-- detail: no column of
UPDATE email_drafts SET status = 'x' FROM projects p WHERE p.id = 1;
