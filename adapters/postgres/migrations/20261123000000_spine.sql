-- migrate:up

-- The group roles that the login users of each process are members of. They own nothing and bypass nothing.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['soma_app', 'soma_relay', 'soma_token'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS', wanted);
        END IF;
    END LOOP;
END
$$;

-- The tenant of this transaction; NULL when it is unset or empty, so that every policy below fails closed.
CREATE FUNCTION current_tenant() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('app.tenant', true), '');

CREATE TABLE tenants (
    tenant_id  text PRIMARY KEY CHECK (tenant_id ~ '^[a-z0-9][a-z0-9-]{0,47}$'),
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE clients (
    client_id     text PRIMARY KEY,
    tenant_id     text NOT NULL REFERENCES tenants,
    name          text NOT NULL,
    secret_sha256 text NOT NULL,
    scopes        text[] NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz
);

CREATE TABLE blobs (
    tenant_id  text NOT NULL,
    sha256     text NOT NULL,
    media_type text NOT NULL,
    content    bytea NOT NULL,
    -- When the bytes were last written, again or first.
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, sha256)
);

CREATE TABLE idempotency_keys (
    tenant_id   text NOT NULL,
    client_id   text NOT NULL,
    route       text NOT NULL,
    key         text NOT NULL,
    body_sha256 text NOT NULL,
    resource    uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    status      integer,
    response    jsonb,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, client_id, route, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (tenant_id, created_at);

CREATE TABLE constitutions (
    hash         text PRIMARY KEY,
    tenant_id    text NOT NULL DEFAULT 'system' CHECK (tenant_id = 'system'),
    version      bigint NOT NULL,
    envelope     jsonb NOT NULL,
    activated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX constitutions_active ON constitutions (activated_at DESC);

CREATE TABLE decisions (
    tenant_id         text NOT NULL,
    decision_id       text NOT NULL,
    workflow_id       text NOT NULL,
    step_key          text NOT NULL,
    resource          text NOT NULL,
    subject           text NOT NULL,
    verdict           text NOT NULL,
    decision          jsonb NOT NULL,
    snapshot          jsonb NOT NULL,
    resolution        jsonb,
    decided_at        timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, decision_id),
    UNIQUE (tenant_id, workflow_id, step_key)
);
CREATE INDEX decisions_open ON decisions (tenant_id, decision_id) WHERE verdict = 'escalate' AND resolution IS NULL;

CREATE TABLE documents (
    tenant_id   text NOT NULL,
    document_id text NOT NULL,
    name        text NOT NULL,
    media_type  text NOT NULL,
    sha256      text NOT NULL,
    bytes       bigint NOT NULL,
    text_sha256 text NOT NULL,
    characters  bigint NOT NULL,
    created_at  timestamptz NOT NULL,
    deleted_at  timestamptz,
    PRIMARY KEY (tenant_id, document_id)
);

CREATE TABLE sessions (
    tenant_id    text NOT NULL,
    session_id   text NOT NULL,
    workflow_id  text NOT NULL,
    run_id       text NOT NULL,
    subject      text NOT NULL,
    client_id    text NOT NULL,
    status       text NOT NULL,
    decision_id  text NOT NULL,
    persona      text,
    model_role   text NOT NULL,
    documents    text[] NOT NULL DEFAULT '{}',
    metadata     jsonb NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    closed_at    timestamptz,
    close_reason text,
    PRIMARY KEY (tenant_id, session_id),
    FOREIGN KEY (tenant_id, decision_id) REFERENCES decisions DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX sessions_status ON sessions (tenant_id, status, session_id);

CREATE TABLE turns (
    tenant_id        text NOT NULL,
    turn_id          text NOT NULL,
    session_id       text NOT NULL,
    seq              integer NOT NULL,
    request_key      text NOT NULL,
    client_id        text NOT NULL,
    status           text NOT NULL,
    message_sha256   text NOT NULL,
    used_sha256      text,
    reply_sha256     text,
    decision_id      text,
    provider         text,
    model            text,
    fallback         boolean NOT NULL DEFAULT false,
    usage            jsonb NOT NULL DEFAULT '{}',
    citations        jsonb NOT NULL DEFAULT '[]',
    error            jsonb,
    warnings         jsonb NOT NULL DEFAULT '[]',
    created_at       timestamptz NOT NULL,
    started_at       timestamptz,
    completed_at     timestamptz,
    PRIMARY KEY (tenant_id, turn_id),
    UNIQUE (tenant_id, session_id, seq),
    UNIQUE (tenant_id, session_id, client_id, request_key),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE slm_calls (
    tenant_id       text NOT NULL,
    workflow_id     text NOT NULL,
    step_key        text NOT NULL,
    attempt         integer NOT NULL,
    session_id      text,
    turn_id         text,
    role            text NOT NULL,
    provider        text NOT NULL,
    model           text NOT NULL,
    outcome         text NOT NULL,
    answer          jsonb,
    input_tokens    bigint NOT NULL DEFAULT 0,
    output_tokens   bigint NOT NULL DEFAULT 0,
    latency_ms      bigint NOT NULL DEFAULT 0,
    queue_wait_ms   bigint NOT NULL DEFAULT 0,
    error_type      text,
    started_at      timestamptz NOT NULL DEFAULT now(),
    ended_at        timestamptz,
    PRIMARY KEY (tenant_id, workflow_id, step_key, attempt)
);
-- The journal: one answer per step, of whichever attempt wrote it first; a later one that completed too was paid for as well.
CREATE UNIQUE INDEX slm_calls_answer ON slm_calls (tenant_id, workflow_id, step_key) WHERE answer IS NOT NULL;

CREATE TABLE memories (
    tenant_id  text NOT NULL,
    key        text NOT NULL,
    session_id text NOT NULL,
    content    text NOT NULL,
    words      tsvector GENERATED ALWAYS AS (to_tsvector('simple', content)) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX memories_words ON memories USING gin (words);
CREATE INDEX memories_session ON memories (tenant_id, session_id);

-- Readers follow (xid, seq) below pg_snapshot_xmin(pg_current_snapshot()): commit order, so no late commit is skipped.
CREATE TABLE outbox (
    xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq         bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id   text NOT NULL,
    event_id    text NOT NULL UNIQUE,
    topic       text NOT NULL,
    type        text NOT NULL,
    subject     text NOT NULL,
    data        jsonb NOT NULL,
    traceparent text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (xid, seq)
);
CREATE INDEX outbox_tenant ON outbox (tenant_id, topic, xid, seq);
CREATE INDEX outbox_subject ON outbox (tenant_id, subject, xid, seq);

CREATE TABLE relay_positions (
    sink       text PRIMARY KEY,
    xid        xid8 NOT NULL,
    seq        bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Wakes waiting readers; they also look again on their own, so a lost notice only delays.
CREATE FUNCTION notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('outbox', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER outbox_notify AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION notify_outbox();

-- Row-level security, forced on the owner too.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tenants', 'clients', 'blobs', 'idempotency_keys', 'decisions', 'documents', 'sessions',
                                'turns', 'slm_calls', 'memories', 'outbox', 'constitutions'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_rows ON %I USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END
$$;
CREATE POLICY everyone_reads ON constitutions FOR SELECT USING (true);
CREATE POLICY relay_reads ON outbox FOR SELECT TO soma_relay USING (true);
CREATE POLICY token_reads ON clients FOR SELECT TO soma_token USING (true);

GRANT USAGE ON SCHEMA public TO soma_app, soma_relay, soma_token;
GRANT SELECT, INSERT, UPDATE ON tenants, clients, idempotency_keys, decisions, documents, sessions, turns, slm_calls, memories TO soma_app;
GRANT SELECT, INSERT ON blobs, outbox, constitutions TO soma_app;
GRANT UPDATE (activated_at) ON constitutions TO soma_app;
GRANT UPDATE (created_at) ON blobs TO soma_app;
GRANT DELETE ON blobs, idempotency_keys, memories TO soma_app;
GRANT SELECT ON relay_positions TO soma_app;
GRANT SELECT ON outbox TO soma_relay;
GRANT SELECT, INSERT, UPDATE ON relay_positions TO soma_relay;
GRANT SELECT ON clients TO soma_token;

-- migrate:down

DROP TABLE relay_positions, outbox, memories, slm_calls, turns, sessions, documents, decisions, constitutions,
    idempotency_keys, blobs, clients, tenants;
DROP FUNCTION notify_outbox, current_tenant;
