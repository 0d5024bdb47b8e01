-- role: service
-- tier: prod
-- rule: unbounded-write
-- message: DELETE without an effective WHERE is not allowed on prod
-- detail: rule unbounded-write: there is no WHERE, so every row of email_drafts would be deleted
-- hint: or try it on app:stg first.
-- sqlstate: 42501
DELETE FROM email_drafts;
