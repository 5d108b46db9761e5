UPDATE ledger_chains SET batches = $2, head_hash = $3 WHERE chain = $1
