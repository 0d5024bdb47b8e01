-- role: engineer
-- tier: prod
-- reason: none
-- rule: reason-required
PREPARE p AS SELECT * FROM projects
