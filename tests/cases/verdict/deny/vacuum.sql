-- role: service
-- tier: prod
-- rule: maintenance
VACUUM FULL email_drafts;
