-- role: service
-- tier: stg
-- rule: server-program
COPY projects FROM PROGRAM 'curl x';
