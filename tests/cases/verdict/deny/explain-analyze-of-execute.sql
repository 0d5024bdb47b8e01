-- role: service
-- tier: prod
-- rule: uncountable-write
-- message: EXPLAIN ANALYZE of EXECUTE
-- detail: it may be a write, and does not tell
EXPLAIN ANALYZE EXECUTE p (1);
