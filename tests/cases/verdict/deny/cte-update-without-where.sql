-- role: service
-- tier: prod
-- rule: unbounded-write
-- message: UPDATE without an effective WHERE is not allowed on prod
WITH x AS (UPDATE email_drafts SET status = 'x' RETURNING 1) SELECT 1;
