-- role: migrator
-- tier: prod
-- rule: create-index
-- message: CREATE INDEX without CONCURRENTLY is not allowed on prod
-- detail: rule create-index: nothing can be written to email_drafts until the index is built
-- hint: Use CREATE INDEX CONCURRENTLY, outside a transaction block.
CREATE INDEX ON email_drafts (status)
