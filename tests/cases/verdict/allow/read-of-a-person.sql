-- role: engineer
-- tier: prod
-- verdict: read_only
SELECT * FROM projects;
