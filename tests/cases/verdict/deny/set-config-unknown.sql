-- role: service
-- tier: prod
-- rule: unknown-setting
SELECT set_config($1, 'off', false);
