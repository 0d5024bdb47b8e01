-- role: engineer
-- tier: prod
-- rule: read-only-escape
SET default_transaction_read_only = off;
