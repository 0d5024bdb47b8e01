-- role: migrator
-- tier: prod
-- rule: opaque-write
-- message: calling touch is not allowed on prod
SELECT touch(1);
