-- migrate:up

CREATE SEQUENCE kill_switch_epochs;

-- A row of the platform's tenant may mean another tenant, or every one; a tenant's own means that tenant.
CREATE TABLE kill_switches (
    tenant_id     text NOT NULL,
    switch_id     text NOT NULL,
    scope         text NOT NULL CHECK (scope IN ('all', 'region', 'tenant', 'user', 'capsule', 'provider', 'tool', 'feature')),
    value         text CHECK ((value IS NULL) = (scope IN ('all', 'tenant'))),
    target_tenant text CHECK (target_tenant IS NOT NULL OR scope <> 'tenant'),
    reason        text NOT NULL,
    epoch         bigint NOT NULL DEFAULT nextval('kill_switch_epochs'),
    engaged_by    text NOT NULL,
    engaged_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at    timestamptz,
    released_at   timestamptz,
    released_by   text[] NOT NULL DEFAULT '{}',
    schedules     text[] NOT NULL DEFAULT '{}',
    stated_at     timestamptz,
    statement     jsonb,
    PRIMARY KEY (tenant_id, switch_id),
    CONSTRAINT own_or_platform CHECK (
        tenant_id = 'system' OR (target_tenant IS NOT DISTINCT FROM tenant_id AND scope NOT IN ('all', 'region'))
    )
);
CREATE INDEX kill_switches_engaged ON kill_switches (engaged_at) WHERE released_at IS NULL;

CREATE TABLE kill_switch_runs (
    tenant_id    text NOT NULL,
    switch_id    text NOT NULL,
    workflow_id  text NOT NULL,
    run_id       text NOT NULL,
    cancelled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at    timestamptz,
    PRIMARY KEY (tenant_id, switch_id, workflow_id, run_id),
    FOREIGN KEY (tenant_id, switch_id) REFERENCES kill_switches
);

-- Processes look several times a second anyhow; the notice makes it sooner.
CREATE FUNCTION notify_kill_switches() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('kill_switches', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER kill_switches_notify AFTER INSERT OR UPDATE OF released_at ON kill_switches
    FOR EACH STATEMENT EXECUTE FUNCTION notify_kill_switches();

-- Where a call was made, and how long after its reservation was asked for it was sent.
ALTER TABLE slm_calls ADD COLUMN region text, ADD COLUMN sent_ms bigint;
CREATE INDEX slm_calls_started ON slm_calls USING brin (started_at);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['kill_switches', 'kill_switch_runs'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_rows ON %I USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END
$$;
-- A process works for every tenant, so it asks as the platform for the switches of all.
CREATE POLICY platform_reads ON kill_switches FOR SELECT TO soma_app USING (current_tenant() = 'system');
CREATE POLICY meant_reads ON kill_switches FOR SELECT TO soma_app USING (
    tenant_id = 'system' AND current_tenant() IS NOT NULL AND coalesce(target_tenant, current_tenant()) = current_tenant()
);
-- A switch of the platform waits for the calls of every tenant it means.
CREATE POLICY platform_reads ON slm_calls FOR SELECT TO soma_app USING (current_tenant() = 'system');

GRANT SELECT, INSERT, UPDATE ON kill_switches, kill_switch_runs TO soma_app;
GRANT USAGE ON SEQUENCE kill_switch_epochs TO soma_app;

-- migrate:down

DROP POLICY platform_reads ON slm_calls;
DROP INDEX slm_calls_started;
ALTER TABLE slm_calls DROP COLUMN region, DROP COLUMN sent_ms;
DROP TABLE kill_switch_runs, kill_switches;
DROP FUNCTION notify_kill_switches;
DROP SEQUENCE kill_switch_epochs;
