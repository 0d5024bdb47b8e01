-- The demo's schema: a small back office that sends e-mail for its projects.
CREATE TABLE projects (
    id bigserial PRIMARY KEY,
    customer_email text,
    name text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE workflow_instances (
    id bigserial PRIMARY KEY,
    project_id bigint REFERENCES projects,
    current_step text,
    status text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE email_drafts (
    id bigserial PRIMARY KEY,
    project_id bigint REFERENCES projects,
    status text NOT NULL DEFAULT 'pending',
    subject text,
    sent_at timestamptz
);

INSERT INTO projects (customer_email, name)
SELECT 'user' || i || '@example.com', 'project ' || i FROM generate_series(1, 50) i;

INSERT INTO workflow_instances (project_id, current_step, status)
SELECT i % 50 + 1, 'step ' || i % 5, 'active' FROM generate_series(1, 200) i;

INSERT INTO email_drafts (project_id, status, subject)
SELECT i % 50 + 1, CASE WHEN i % 10 = 0 THEN 'sent' ELSE 'pending' END, 'hello ' || i FROM generate_series(1, 5000) i;

CREATE VIEW open_drafts AS SELECT id, project_id, subject FROM email_drafts WHERE status = 'pending';

ANALYZE projects, workflow_instances, email_drafts;
