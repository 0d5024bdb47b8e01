-- role: engineer
-- tier: prod
-- rule: read-only-escape
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE;
