-- role: engineer
-- tier: prod
-- reason: none
-- rule: reason-required
SELECT lo_get(42)
