-- role: engineer
-- tier: stg
-- rule: truncate-drop
-- verdict: confirm
-- message: DROP TABLE needs confirmation on stg
-- hint: SET pgbelay.confirm = '{token}'
DROP TABLE email_drafts;
