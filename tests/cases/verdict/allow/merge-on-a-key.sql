-- role: service
-- tier: prod
-- verdict: guarded
MERGE INTO email_drafts d USING incoming i ON d.id = i.id WHEN MATCHED THEN UPDATE SET status = i.status;
