-- role: engineer
-- tier: prod
-- reason: none
-- rule: reason-required
EXECUTE p
