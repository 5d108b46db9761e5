-- A flusher that ends cleanly does not keep the next one waiting for its lease.
UPDATE shards SET flusher_owner = NULL, flusher_until = NULL WHERE shard = $1 AND flusher_owner = $2
