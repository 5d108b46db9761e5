SELECT
    set_config('synchronous_commit', 'on', true),
    pg_advisory_xact_lock(hashtextextended('month close', 0)) IS NOT NULL AS is_ours
