INSERT INTO ledger_batches
(batch_id, chain, position, kind, usage_rows, created_at, previous_hash, hash)
OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
