-- Stronger than FOR SHARE: two holders of a share that both move the cursor would deadlock.
SELECT generation, state, flusher_owner, cursor_generation, cursor_stream_id FROM shards
WHERE shard = $1 FOR NO KEY UPDATE
