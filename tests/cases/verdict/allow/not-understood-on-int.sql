-- role: engineer
-- tier: int
-- verdict: allow
FROBNICATE email_drafts;
