-- role: service
-- tier: prod
-- rule: uncountable-write
-- sqlstate: 42501
-- message: EXPLAIN ANALYZE of UPDATE is not allowed on prod
-- detail: it does not tell how many rows it changes, so the limit of 1000 rows could not be kept
-- hint: Run the UPDATE as a statement of its own, or EXPLAIN without ANALYZE.
EXPLAIN (ANALYZE, BUFFERS) UPDATE email_drafts SET status = 'x' WHERE id = 1;
