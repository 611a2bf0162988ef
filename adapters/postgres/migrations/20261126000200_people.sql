-- migrate:up

-- People. What one logs in with stands apart, so that nothing that lists users can show it.
CREATE TABLE users (
    tenant_id             text NOT NULL REFERENCES tenants,
    user_id               text NOT NULL,
    name                  text NOT NULL,
    -- The name with look-alikes folded: two users whose names look the same are one too many.
    name_key              text NOT NULL,
    display_name          text NOT NULL,
    email                 text,
    roles                 text[] NOT NULL CHECK (cardinality(roles) > 0),
    version               bigint NOT NULL DEFAULT 1,
    last_change           text,
    invitation_sha256     text UNIQUE,
    invitation_expires_at timestamptz CHECK ((invitation_sha256 IS NULL) = (invitation_expires_at IS NULL)),
    login_id              text,
    -- The last TOTP step that was used: each code is good once.
    totp_step             bigint,
    -- Tokens that were issued until then are void; another login has taken the place of theirs.
    valid_from            timestamptz,
    created_by            text NOT NULL,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    activated_at          timestamptz,
    last_login_at         timestamptz,
    locked_at             timestamptz,
    deleted_at            timestamptz,
    PRIMARY KEY (tenant_id, user_id)
);
CREATE UNIQUE INDEX users_name ON users (tenant_id, name_key) WHERE deleted_at IS NULL;

-- Written before the workflow that makes it the user's, and immutable. The seed is encrypted.
CREATE TABLE user_logins (
    tenant_id     text NOT NULL,
    login_id      text NOT NULL,
    user_id       text NOT NULL,
    password_hash text NOT NULL,
    sealed_seed   bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, login_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users
);
CREATE INDEX user_logins_user ON user_logins (tenant_id, user_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['users', 'user_logins'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_rows ON %I USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END
$$;

GRANT SELECT, INSERT, UPDATE ON users TO soma_app;
GRANT SELECT, INSERT, DELETE ON user_logins TO soma_app;

-- migrate:down

DROP TABLE user_logins, users;
