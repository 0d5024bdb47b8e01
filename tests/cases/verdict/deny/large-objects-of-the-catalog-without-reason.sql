-- role: engineer
-- tier: prod
-- reason: none
-- rule: reason-required
SELECT data FROM pg_catalog.pg_largeobject
