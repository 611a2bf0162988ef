-- migrate:up

-- Policies of a tenant's own, in numbered versions that never change; one at a time is in force.
CREATE TABLE policy_sets (
    tenant_id     text NOT NULL,
    policy_set_id text NOT NULL,
    version       integer NOT NULL CHECK (version > 0),
    name          text NOT NULL,
    text          text NOT NULL,
    digest        text NOT NULL,
    policies      integer NOT NULL,
    active        boolean NOT NULL DEFAULT false,
    created_by    text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    activated_by  text,
    activated_at  timestamptz,
    PRIMARY KEY (tenant_id, policy_set_id),
    UNIQUE (tenant_id, version)
);
CREATE UNIQUE INDEX policy_sets_active ON policy_sets (tenant_id) WHERE active;

-- Recorded decisions asked again, by the policies they were taken by or by others. `cursor` is the last decision that was.
CREATE TABLE policy_replays (
    tenant_id       text NOT NULL,
    replay_id       text NOT NULL,
    workflow_id     text NOT NULL,
    status          text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'completed', 'cancelled', 'failed')),
    since           timestamptz,
    until           timestamptz NOT NULL,
    candidates      text,
    cursor          text,
    decisions       bigint NOT NULL DEFAULT 0,
    identical       bigint NOT NULL DEFAULT 0,
    changed         bigint NOT NULL DEFAULT 0,
    not_replayable  bigint NOT NULL DEFAULT 0,
    result_sha256   text,
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    completed_at    timestamptz,
    PRIMARY KEY (tenant_id, replay_id)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['policy_sets', 'policy_replays'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_rows ON %I USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT ON policy_sets, policy_replays TO soma_app;
GRANT UPDATE (active, activated_by, activated_at) ON policy_sets TO soma_app;
GRANT UPDATE (status, cursor, decisions, identical, changed, not_replayable, result_sha256, completed_at) ON policy_replays TO soma_app;

-- migrate:down

DROP TABLE policy_replays, policy_sets;
