-- role: service
-- tier: stg
-- rule: uncountable-write
COPY (INSERT INTO email_drafts (id) SELECT g FROM generate_series(1, 5) g RETURNING id) TO STDOUT;
