-- A lease that ends later than leases do is of a clock that was ahead, and nobody's.
UPDATE shards
SET flusher_owner = $2, flusher_until = now() + make_interval(secs => $3::integer)
WHERE
    shard = $1
    AND (
        flusher_owner IS NULL
        OR flusher_owner = $2
        OR flusher_until < now()
        OR flusher_until > now() + interval '10 minutes'
    )
RETURNING
    shard, generation, state, suspect, restored_generation, cursor_generation, cursor_stream_id
