-- role: engineer
-- tier: int
-- rule: proxy-setting
-- hint: pgbelay.reason
SET pgbelay.raeson = 'x';
