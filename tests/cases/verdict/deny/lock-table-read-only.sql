-- role: engineer
-- tier: prod
-- rule: read-only-tier
-- message: LOCK TABLE
LOCK TABLE projects IN ACCESS EXCLUSIVE MODE;
