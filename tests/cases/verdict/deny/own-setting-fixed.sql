-- role: engineer
-- tier: prod
-- rule: proxy-setting
-- detail: it can only be shown
SET pgbelay.tier = 'int';
