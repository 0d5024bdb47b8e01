-- role: service
-- tier: prod
-- rule: unbounded-write
DELETE FROM email_drafts WHERE id OPERATOR(pg_catalog.=) ANY (SELECT id FROM email_drafts)
