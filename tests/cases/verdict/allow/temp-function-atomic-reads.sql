-- role: service
-- tier: prod
CREATE FUNCTION pg_temp.f(i int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN i > 1 THEN 1 ELSE 2 END; END
