-- role: service
-- tier: prod
-- verdict: allow
SELECT * FROM projects;
