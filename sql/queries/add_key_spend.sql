INSERT INTO key_spend (key_id, window_ms, spent_nanos)
SELECT key_id, window_ms, spent_nanos
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS spent (key_id, window_ms, spent_nanos)
ORDER BY key_id, window_ms
ON CONFLICT (key_id, window_ms)
DO UPDATE SET spent_nanos = key_spend.spent_nanos + excluded.spent_nanos
