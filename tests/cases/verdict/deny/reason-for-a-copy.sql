-- role: engineer
-- tier: prod
-- rule: reason-required
-- reason: none
COPY projects TO STDOUT;
