-- role: engineer
-- tier: prod
-- rule: read-only-tier
SELECT ('drafts_id_seq'::regclass).nextval;
