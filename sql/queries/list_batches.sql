SELECT batch_id, position, kind, usage_rows, created_at, previous_hash, hash
FROM ledger_batches
WHERE chain = $1 AND position > $2
ORDER BY position
LIMIT $3
