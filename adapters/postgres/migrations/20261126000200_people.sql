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

-- Failures by user name and by address, counted before anything is compared. Keys are digests: not all of them are names.
CREATE TABLE login_attempts (
    tenant_id    text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('user', 'address')),
    key          text NOT NULL,
    failures     integer NOT NULL CHECK (failures >= 0),
    locked_until timestamptz,
    last_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, kind, key)
);
CREATE INDEX login_attempts_age ON login_attempts (tenant_id, last_at);

-- Log-in pages that were shown. Whose they are is not known yet, so they belong to the platform.
CREATE TABLE sign_ins (
    tenant_id      text NOT NULL CHECK (tenant_id = 'system'),
    sign_in_sha256 text NOT NULL PRIMARY KEY,
    browser_sha256 text NOT NULL,
    request        jsonb NOT NULL,
    expires_at     timestamptz NOT NULL
);
CREATE INDEX sign_ins_age ON sign_ins (expires_at);

CREATE TABLE authorization_codes (
    tenant_id      text NOT NULL,
    code_sha256    text NOT NULL,
    user_id        text NOT NULL,
    client_id      text NOT NULL,
    redirect_uri   text NOT NULL,
    code_challenge text NOT NULL,
    scope          text NOT NULL,
    expires_at     timestamptz NOT NULL,
    used_at        timestamptz,
    -- The token that was made from it, to be voided when somebody uses the code again.
    jti            text,
    replayed_at    timestamptz,
    PRIMARY KEY (tenant_id, code_sha256),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users
);
CREATE INDEX authorization_codes_age ON authorization_codes (tenant_id, expires_at);

-- What two people must approve: exactly what the digest is of, once, in time.
CREATE TABLE two_key_requests (
    tenant_id    text NOT NULL,
    approval_id  text NOT NULL,
    action       text NOT NULL,
    resource     text NOT NULL,
    digest       text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    proposed_by  text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    withdrawn_by text,
    consumed_at  timestamptz,
    PRIMARY KEY (tenant_id, approval_id),
    CHECK (withdrawn_by IS NULL OR consumed_at IS NULL)
);
CREATE INDEX two_key_requests_open ON two_key_requests (tenant_id, action, resource, digest)
    WHERE consumed_at IS NULL AND withdrawn_by IS NULL;

-- The two constraints count: one row a person, and two places.
CREATE TABLE two_key_approvals (
    tenant_id   text NOT NULL,
    approval_id text NOT NULL,
    place       integer NOT NULL CHECK (place IN (1, 2)),
    user_id     text NOT NULL,
    approved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, approval_id, user_id),
    UNIQUE (tenant_id, approval_id, place),
    FOREIGN KEY (tenant_id, approval_id) REFERENCES two_key_requests,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['users', 'user_logins', 'login_attempts', 'sign_ins', 'authorization_codes',
                                'two_key_requests', 'two_key_approvals'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_rows ON %I USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END
$$;

GRANT SELECT, INSERT, UPDATE ON users, two_key_requests TO soma_app;
GRANT SELECT, INSERT ON two_key_approvals TO soma_app;
GRANT SELECT, INSERT, DELETE ON user_logins, sign_ins TO soma_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON login_attempts, authorization_codes TO soma_app;

-- migrate:down

DROP TABLE two_key_approvals, two_key_requests, authorization_codes, sign_ins, login_attempts, user_logins, users;
