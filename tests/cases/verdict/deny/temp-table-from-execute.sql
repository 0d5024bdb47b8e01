-- role: service
-- tier: prod
-- rule: uncountable-write
CREATE TEMP TABLE t AS EXECUTE p;
