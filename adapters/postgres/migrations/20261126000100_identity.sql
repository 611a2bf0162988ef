-- migrate:up

-- Tenants, clients and roles as data. Each change raises the version, which is the ETag that an edit names.
ALTER TABLE tenants
    ADD COLUMN plan                text NOT NULL DEFAULT 'standard',
    ADD COLUMN requests_per_minute integer CHECK (requests_per_minute > 0),
    -- Where the tenant may be served; anywhere when there is none.
    ADD COLUMN regions             text[] NOT NULL DEFAULT '{}',
    ADD COLUMN version             bigint NOT NULL DEFAULT 1,
    ADD COLUMN updated_at          timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN deleted_at          timestamptz;

ALTER TABLE clients
    ADD COLUMN roles                text[] NOT NULL DEFAULT '{}',
    ADD COLUMN version              bigint NOT NULL DEFAULT 1,
    ADD COLUMN created_by           text,
    ADD COLUMN updated_at           timestamptz NOT NULL DEFAULT now(),
    -- The secret before the last rotation, and until when it opens, too.
    ADD COLUMN former_secret_sha256 text,
    ADD COLUMN former_secret_until  timestamptz;
CREATE INDEX clients_tenant ON clients (tenant_id, client_id);

-- `skeleton` is the name as it looks: two names that look alike are one name.
CREATE TABLE roles (
    tenant_id    text NOT NULL,
    role_id      text NOT NULL,
    name         text NOT NULL,
    skeleton     text NOT NULL,
    capabilities text[] NOT NULL,
    version      bigint NOT NULL DEFAULT 1,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, role_id),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, skeleton)
);

ALTER TABLE roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE roles FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON roles USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON roles TO soma_app;

-- The platform lists its tenants; it changes one as that tenant.
CREATE POLICY platform_sees_tenants ON tenants FOR SELECT TO soma_app USING (current_tenant() = 'system');

-- Whoever asks for a token is known by the client alone: what its roles open, and whether its tenant is still there.
CREATE POLICY token_reads ON roles FOR SELECT TO soma_token USING (true);
CREATE POLICY token_reads ON tenants FOR SELECT TO soma_token USING (true);
GRANT SELECT (tenant_id, name, capabilities) ON roles TO soma_token;
GRANT SELECT (tenant_id, deleted_at) ON tenants TO soma_token;

-- migrate:down

REVOKE SELECT (tenant_id, deleted_at) ON tenants FROM soma_token;
DROP POLICY token_reads ON tenants;
DROP POLICY platform_sees_tenants ON tenants;
DROP TABLE roles;
DROP INDEX clients_tenant;
ALTER TABLE clients
    DROP COLUMN roles, DROP COLUMN version, DROP COLUMN created_by, DROP COLUMN updated_at, DROP COLUMN former_secret_sha256,
    DROP COLUMN former_secret_until;
ALTER TABLE tenants
    DROP COLUMN plan, DROP COLUMN requests_per_minute, DROP COLUMN regions, DROP COLUMN version, DROP COLUMN updated_at,
    DROP COLUMN deleted_at;
