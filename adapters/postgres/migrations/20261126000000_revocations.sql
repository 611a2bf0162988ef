-- migrate:up

-- Tokens that are refused before they expire: those that a row names and that were issued at `before` or earlier.
CREATE TABLE revocations (
    tenant_id     text NOT NULL,
    revocation_id text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('jti', 'client', 'subject', 'all')),
    value         text CHECK ((value IS NULL) = (kind = 'all')),
    before        timestamptz NOT NULL,
    reason        text,
    revoked_by    text NOT NULL,
    revoked_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, revocation_id)
);
CREATE INDEX revocations_named ON revocations (tenant_id, kind, value, before DESC);

ALTER TABLE revocations ENABLE ROW LEVEL SECURITY;
ALTER TABLE revocations FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON revocations USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT ON revocations TO soma_app;

-- migrate:down

DROP TABLE revocations;
