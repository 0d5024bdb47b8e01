-- role: auditor
-- tier: int
-- rule: read-only-tier
INSERT INTO projects (name) VALUES ('x');
