-- role: engineer
-- tier: prod
-- rule: read-only-tier
-- message: setval
SELECT setval('projects_id_seq', 1);
