-- role: engineer
-- tier: prod
-- rule: reason-required
-- reason: none
SELECT touch(1);
