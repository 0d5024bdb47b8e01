-- role: engineer
-- tier: prod
-- rule: dangerous-function
SELECT query_to_xml('SELECT (12345).pg_terminate_backend_____________________________xyz'::name, true, false, '');
