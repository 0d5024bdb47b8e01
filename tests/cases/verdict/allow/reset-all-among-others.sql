-- role: engineer
-- tier: prod
-- The session runs the text step by step and puts its own settings back after RESET ALL.
SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;
