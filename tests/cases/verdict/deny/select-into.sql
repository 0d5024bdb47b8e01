-- role: service
-- tier: prod
-- rule: ddl
SELECT * INTO newt FROM projects;
