-- role: service
-- tier: stg
-- rule: server-program
CREATE LANGUAGE plpython3u;
