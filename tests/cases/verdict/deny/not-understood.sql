-- role: service
-- tier: prod
-- rule: unparsed-write
FROBNICATE email_drafts;
