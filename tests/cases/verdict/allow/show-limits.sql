-- role: engineer
-- tier: prod
-- reason: none
SHOW pgbelay.limits;
