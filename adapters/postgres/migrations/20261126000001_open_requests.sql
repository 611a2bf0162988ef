-- migrate:up

-- How many requests are ahead is asked with each one that is queued; those that have ended are most of the table.
-- Some databases have it already, from the migration that it stood in at first.
CREATE INDEX IF NOT EXISTS slm_requests_open ON slm_requests (tenant_id, lane) WHERE completed_at IS NULL;

-- migrate:down

DROP INDEX slm_requests_open;
