INSERT INTO quarantine (shard, entry_id, raw, reason, account_id, charged_nanos, generation)
VALUES ($1, $2, $3, $4, $5, $6::text::numeric, $7)
ON CONFLICT (shard, entry_id) DO NOTHING
