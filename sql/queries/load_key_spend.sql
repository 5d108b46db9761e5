SELECT window_ms, spent_nanos FROM key_spend WHERE key_id = $1 ORDER BY window_ms DESC LIMIT 64
