-- role: service
-- tier: prod
-- rule: code-block
PREPARE TRANSACTION 'x';
