UPDATE quarantine SET resolved_at = now(), reason = reason || E'\n' || $3
WHERE shard = $1 AND entry_id = $2
