-- role: service
-- tier: prod
-- rule: unbounded-write
-- message: MERGE without an effective ON
MERGE INTO email_drafts d USING projects p ON true WHEN MATCHED THEN DELETE;
