-- role: engineer
-- tier: prod
-- reason: none
-- rule: reason-required
COPY projects TO STDOUT
