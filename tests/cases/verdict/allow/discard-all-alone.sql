-- role: engineer
-- tier: prod
DISCARD ALL;
