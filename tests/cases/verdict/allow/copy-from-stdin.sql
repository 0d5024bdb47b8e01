-- role: service
-- tier: prod
-- verdict: guarded
COPY email_drafts FROM STDIN;
