-- $1: the month's first day. What keeps it from being closed.
WITH span AS (
    SELECT
        $1::date::timestamp AT TIME ZONE 'UTC' AS begins_at,
        ($1::date + interval '1 month') AT TIME ZONE 'UTC' AS ends_at
)
SELECT
    span.ends_at > now() AS is_running,
    (SELECT max(month) FROM closes) AS last_month,
    (SELECT min(created_at) FROM ledger_batches) < span.begins_at AS has_before,
    (
        SELECT count(*) FROM quarantine
        WHERE
            resolved_at IS NULL
            AND split_part(entry_id, '-', 1)::numeric < extract(epoch FROM span.ends_at) * 1000
    ) AS quarantined
FROM span
