-- role: engineer
-- tier: prod
-- rule: reason-required
-- reason: none
-- hint: SET pgbelay.reason = '
SELECT * FROM projects;
