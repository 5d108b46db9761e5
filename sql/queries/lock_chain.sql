SELECT batches, head_hash, date_trunc('milliseconds', clock_timestamp()) AS at
FROM ledger_chains WHERE chain = $1 FOR NO KEY UPDATE
