-- role: engineer
-- tier: prod
-- rule: read-only-tier
-- message: FOR UPDATE
SELECT * FROM projects WHERE id = 1 FOR UPDATE;
