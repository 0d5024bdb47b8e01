-- role: service
-- tier: prod
-- verdict: allow
SELECT touch(1);
