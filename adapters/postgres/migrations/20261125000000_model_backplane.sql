-- migrate:up

-- Caps. The constraint is the last word: no statement can commit more than a cap holds.
CREATE TABLE budgets (
    tenant_id  text NOT NULL,
    budget_id  text NOT NULL,
    scope      text NOT NULL CHECK (scope IN ('tenant', 'project', 'session', 'installation')),
    scope_id   text NOT NULL,
    unit       text NOT NULL CHECK (unit ~ '^(tokens|[A-Z]{3})$'),
    cap        bigint NOT NULL CHECK (cap >= 0),
    settled    bigint NOT NULL DEFAULT 0 CHECK (settled >= 0),
    reserved   bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    -- What was used beyond bounds, in full, and the part of it that the cap had no room for.
    overrun    bigint NOT NULL DEFAULT 0 CHECK (overrun >= 0),
    uncovered  bigint NOT NULL DEFAULT 0 CHECK (uncovered >= 0),
    -- The cap for which the alert, or the exhaustion, was told; another cap may be told of again.
    alerted_cap   bigint,
    exhausted_cap bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, budget_id),
    UNIQUE (tenant_id, scope, scope_id, unit),
    CONSTRAINT within_cap CHECK (settled + reserved <= cap)
);

-- One row an attempt of a model call: its bound until it has ended, then what it used.
CREATE TABLE reservations (
    tenant_id      text NOT NULL,
    workflow_id    text NOT NULL,
    step_key       text NOT NULL,
    attempt        integer NOT NULL,
    state          text NOT NULL CHECK (state IN ('reserved', 'settled', 'released', 'unknown')),
    budget_ids     text[] NOT NULL,
    -- What each of budget_ids holds for it, in its unit.
    held           bigint[] NOT NULL,
    tokens         bigint NOT NULL CHECK (tokens >= 0),
    micros         bigint CHECK (micros >= 0),
    currency       text,
    price_snapshot text,
    used_tokens    bigint,
    used_micros    bigint,
    provider       text NOT NULL,
    model          text NOT NULL,
    -- What the vendor knows the call by, where it takes a key.
    idempotency_key text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    reconciled_at  timestamptz,
    PRIMARY KEY (tenant_id, workflow_id, step_key, attempt)
);
CREATE INDEX reservations_due ON reservations (expires_at) WHERE state = 'reserved';
CREATE INDEX reservations_unknown ON reservations (tenant_id, provider, created_at) WHERE state = 'unknown' AND reconciled_at IS NULL;

CREATE TABLE model_blocks (
    tenant_id      text NOT NULL,
    provider       text NOT NULL,
    model          text NOT NULL,
    workflow_id    text NOT NULL,
    step_key       text NOT NULL,
    attempt        integer NOT NULL,
    overrun_tokens bigint NOT NULL,
    overrun_micros bigint NOT NULL,
    blocked_at     timestamptz NOT NULL DEFAULT now(),
    reviewed_at    timestamptz,
    reviewed_by    text,
    PRIMARY KEY (tenant_id, provider, model, blocked_at)
);
CREATE UNIQUE INDEX model_blocks_open ON model_blocks (tenant_id, provider, model) WHERE reviewed_at IS NULL;

ALTER TABLE slm_calls
    ADD COLUMN request_id      text,
    ADD COLUMN subject         text,
    ADD COLUMN client_id       text,
    ADD COLUMN lane            text NOT NULL DEFAULT 'interactive',
    ADD COLUMN input_bytes     bigint NOT NULL DEFAULT 0,
    ADD COLUMN forecast_tokens bigint NOT NULL DEFAULT 0,
    ADD COLUMN settlement      text,
    ADD COLUMN cost_micros     bigint,
    ADD COLUMN currency        text,
    ADD COLUMN price_snapshot  text,
    ADD COLUMN overrun_tokens  bigint NOT NULL DEFAULT 0,
    ADD COLUMN first_token_ms  bigint;
CREATE INDEX slm_calls_usage ON slm_calls (tenant_id, started_at);
CREATE INDEX slm_calls_history ON slm_calls (tenant_id, role, started_at DESC) WHERE outcome = 'completed';

CREATE TABLE slm_requests (
    tenant_id       text NOT NULL,
    request_id      text NOT NULL,
    workflow_id     text NOT NULL,
    run_id          text NOT NULL,
    client_id       text NOT NULL,
    subject         text NOT NULL,
    kind            text NOT NULL,
    role            text NOT NULL,
    pinned_model    text,
    lane            text NOT NULL,
    status          text NOT NULL,
    decision_id     text,
    input_sha256    text NOT NULL,
    reply_sha256    text,
    message_sha256  text,
    answer          jsonb,
    error           jsonb,
    forecast_tokens bigint NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    started_at      timestamptz,
    completed_at    timestamptz,
    PRIMARY KEY (tenant_id, request_id)
);
CREATE INDEX slm_requests_status ON slm_requests (tenant_id, status, request_id);

-- What a tenant's forecasts fell short by, in tokens, and no task has taken over yet.
CREATE TABLE fairness_debts (
    tenant_id text PRIMARY KEY,
    carried   bigint NOT NULL DEFAULT 0
);

CREATE TABLE api_keys (
    tenant_id    text NOT NULL,
    key_id       text NOT NULL,
    client_id    text NOT NULL,
    name         text NOT NULL,
    secret_sha256 text NOT NULL UNIQUE,
    hint         text NOT NULL,
    scopes       text[] NOT NULL,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    PRIMARY KEY (tenant_id, key_id)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['budgets', 'reservations', 'model_blocks', 'slm_requests', 'fairness_debts', 'api_keys'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_rows ON %I USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END
$$;
-- The platform's sweep learns whose reservations are overdue, and then works as that tenant.
CREATE POLICY platform_sees_held ON reservations FOR SELECT TO soma_app USING (current_tenant() = 'system' AND state = 'reserved');
-- A key is looked up before its tenant is known.
CREATE POLICY token_reads ON api_keys FOR SELECT TO soma_token USING (true);

GRANT SELECT, INSERT, UPDATE ON budgets, reservations, model_blocks, slm_requests, fairness_debts, api_keys TO soma_app;
GRANT SELECT ON api_keys TO soma_token;

-- migrate:down

DROP TABLE api_keys, fairness_debts, slm_requests, model_blocks, reservations, budgets;
DROP INDEX slm_calls_usage, slm_calls_history;
ALTER TABLE slm_calls
    DROP COLUMN request_id, DROP COLUMN subject, DROP COLUMN client_id, DROP COLUMN lane, DROP COLUMN input_bytes,
    DROP COLUMN forecast_tokens,
    DROP COLUMN settlement, DROP COLUMN cost_micros, DROP COLUMN currency, DROP COLUMN price_snapshot,
    DROP COLUMN overrun_tokens, DROP COLUMN first_token_ms;
