-- role: agent
-- tier: stg
-- rule: read-only-tier
-- sqlstate: 25006
INSERT INTO projects (name) VALUES ('x');
