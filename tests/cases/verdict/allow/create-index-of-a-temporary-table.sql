-- role: service
-- tier: prod
CREATE TEMP TABLE picked (id int); CREATE INDEX ON pg_temp.picked (id)
