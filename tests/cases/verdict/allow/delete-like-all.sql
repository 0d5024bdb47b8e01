-- role: service
-- tier: prod
-- verdict: guarded
DELETE FROM projects WHERE name NOT LIKE ALL (ARRAY['a%', 'b%']);
