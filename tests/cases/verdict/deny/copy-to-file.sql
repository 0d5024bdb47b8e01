-- role: service
-- tier: stg
-- rule: server-file
-- hint: \copy
COPY projects TO '/tmp/x';
