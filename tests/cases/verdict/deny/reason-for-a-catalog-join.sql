-- role: engineer
-- tier: prod
-- rule: reason-required
-- reason: none
SELECT * FROM pg_catalog.pg_class c, projects;
