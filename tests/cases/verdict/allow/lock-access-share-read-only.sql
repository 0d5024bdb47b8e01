-- role: engineer
-- tier: prod
-- verdict: read_only
LOCK TABLE projects IN ACCESS SHARE MODE;
