-- This database is older than the ledger: it takes on what it has forgotten, and knows nothing of it.
UPDATE shards SET
    generation = $3, state = 'open', suspect = 'postgres',
    cursor_generation = $3, cursor_stream_id = '0-0'
WHERE shard = $1 AND generation = $2 AND generation < $3
