-- role: service
-- tier: prod
-- rule: limit-setting
-- hint: Use SET statement_timeout
SELECT set_config('statement_timeout', '0', false);
