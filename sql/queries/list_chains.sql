SELECT chain, batches, head_hash FROM ledger_chains ORDER BY chain
