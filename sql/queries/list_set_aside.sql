-- Of these accounts, whatever became of it since.
SELECT raw FROM quarantine
WHERE shard = $1 AND account_id = ANY($2::uuid[])
ORDER BY created_at DESC
LIMIT 10000
