INSERT INTO closes (month, ends_at, batches, usage_rows, actor)
SELECT $1::date, span.ends_at, count(b.batch_id), coalesce(sum(b.usage_rows), 0), $2
FROM (
    SELECT
        coalesce((SELECT max(ends_at) FROM closes), '-infinity') AS begins_at,
        ($1::date + interval '1 month') AT TIME ZONE 'UTC' AS ends_at
) AS span
LEFT JOIN ledger_batches AS b ON b.created_at >= span.begins_at AND b.created_at < span.ends_at
GROUP BY span.ends_at
