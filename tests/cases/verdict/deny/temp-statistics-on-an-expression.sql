-- role: service
-- tier: prod
-- rule: ddl
CREATE STATISTICS s ON pg_temp.f(status), name FROM projects;
