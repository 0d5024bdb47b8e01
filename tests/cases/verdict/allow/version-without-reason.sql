-- role: engineer
-- tier: prod
-- reason: none
SELECT version();
