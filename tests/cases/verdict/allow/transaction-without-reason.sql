-- role: engineer
-- tier: prod
-- reason: none
BEGIN;
