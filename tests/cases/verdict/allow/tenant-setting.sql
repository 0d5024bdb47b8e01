-- role: service
-- tier: prod
SELECT set_config('app.current_tenant_id', 'acme', false);
