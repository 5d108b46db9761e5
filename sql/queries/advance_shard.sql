-- From one state of a recovery to the next. Leaving `draining`, the cursor enters its new stream.
UPDATE shards SET
    state = $4,
    cursor_generation = generation,
    cursor_stream_id = CASE WHEN $3 = 'draining' THEN '0-0' ELSE cursor_stream_id END
WHERE shard = $1 AND generation = $2 AND state = $3
