-- role: engineer
-- tier: prod
-- verdict: read_only
COPY projects TO STDOUT;
