SELECT shard, cursor_stream_id FROM shards
