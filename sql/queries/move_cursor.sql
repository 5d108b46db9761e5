UPDATE shards SET cursor_generation = $2, cursor_stream_id = $3 WHERE shard = $1
