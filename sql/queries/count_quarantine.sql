SELECT count(*) FROM quarantine WHERE resolved_at IS NULL
