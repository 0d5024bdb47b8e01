-- role: service
-- tier: prod
-- verdict: guarded
WITH gone AS (DELETE FROM email_drafts WHERE id = 9 RETURNING *) SELECT count(*) FROM gone;
