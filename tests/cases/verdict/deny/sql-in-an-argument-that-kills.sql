-- role: engineer
-- tier: prod
-- rule: dangerous-function
SELECT query_to_xml('SELECT pg_terminate_backend(1)', true, false, '');
