-- role: engineer
-- tier: prod
-- rule: read-only-tier
VACUUM projects;
