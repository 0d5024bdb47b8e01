-- role: engineer
-- tier: stg
-- rule: opaque-write
-- verdict: confirm
CALL touch_project(1);
