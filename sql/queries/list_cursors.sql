SELECT shard, cursor_generation, cursor_stream_id FROM shards
