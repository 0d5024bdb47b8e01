-- role: engineer
-- tier: prod
-- rule: read-only-escape
-- sqlstate: 25006
BEGIN READ WRITE;
