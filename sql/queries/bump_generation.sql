-- The row's lock waits for a running flush, and every later one sees the new generation.
WITH locked AS (SELECT shard FROM shards WHERE shard = $1 AND generation = $2 FOR UPDATE)
UPDATE shards SET
    generation = greatest(generation, $3::bigint) + 1, state = 'draining', suspect = NULL,
    restored_generation = CASE WHEN $4 THEN $2 ELSE restored_generation END,
    flusher_owner = NULL, flusher_until = NULL
FROM locked WHERE shards.shard = locked.shard
RETURNING generation
