-- role: service
-- tier: prod
-- rule: unbounded-write
-- detail: rule unbounded-write: the predicate "1=1" is always true for email_drafts
-- hint: Restrict the rows, for example WHERE id = ..., or try it on app:stg first.
DELETE FROM email_drafts WHERE 1=1;
