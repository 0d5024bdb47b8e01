-- role: migrator
-- tier: prod
CREATE FUNCTION set_tenant(tenant text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('app.current_tenant_id', tenant, true); END $$;
