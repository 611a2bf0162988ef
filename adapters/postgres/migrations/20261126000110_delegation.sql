-- migrate:up

-- A budget may bound a delegated token, by its jti. The new constraint holds for all that the old one held for, so no row is read.
ALTER TABLE budgets DROP CONSTRAINT budgets_scope_check,
    ADD CONSTRAINT budgets_scope_check
        CHECK (scope IN ('tenant', 'project', 'session', 'installation', 'delegation')) NOT VALID;

-- migrate:down

-- What bounds a delegated token stays, for the ledger's sake.
ALTER TABLE budgets DROP CONSTRAINT budgets_scope_check,
    ADD CONSTRAINT budgets_scope_check CHECK (scope IN ('tenant', 'project', 'session', 'installation')) NOT VALID;
