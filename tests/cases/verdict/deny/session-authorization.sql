-- role: engineer
-- tier: stg
-- rule: role-change
SET SESSION AUTHORIZATION postgres;
