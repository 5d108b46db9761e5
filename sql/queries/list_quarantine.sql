SELECT account_id, shard, generation, entry_id, coalesce(charged_nanos, 0)::text AS charged_nanos
FROM quarantine
WHERE resolved_at IS NULL AND account_id = ANY($1::uuid[])
ORDER BY shard, entry_id
LIMIT 10000
