-- role: service
-- tier: prod
CREATE FUNCTION pg_temp.f(i int) RETURNS int RETURN i + 1
