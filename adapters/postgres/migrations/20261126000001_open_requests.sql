-- migrate:up

-- How many requests are ahead is asked with each one that is queued; those that have ended are most of the table.
CREATE INDEX slm_requests_open ON slm_requests (tenant_id, lane) WHERE completed_at IS NULL;

-- migrate:down

DROP INDEX slm_requests_open;
