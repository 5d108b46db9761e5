INSERT INTO quarantine (shard, entry_id, raw, reason, account_id, charged_nanos)
VALUES ($1, $2, $3, $4, $5, $6::text::numeric)
ON CONFLICT (shard, entry_id) DO NOTHING
