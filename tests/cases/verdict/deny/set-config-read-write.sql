-- role: engineer
-- tier: prod
-- rule: read-only-escape
SELECT 1 FROM (SELECT set_config('default_transaction_read_only', 'off', false)) q;
