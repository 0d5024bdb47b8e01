-- role: service
-- tier: prod
-- rule: server-file
LOAD 'auto_explain';
