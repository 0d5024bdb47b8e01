-- role: engineer
-- tier: prod
-- rule: read-only-tier
-- sqlstate: 25006
-- message: UPDATE is not allowed in a read-only session
-- detail: the role engineer has read-only access on prod
UPDATE email_drafts SET status = 'x' WHERE id = 1;
