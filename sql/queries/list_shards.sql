SELECT shard, generation, state, suspect FROM shards ORDER BY shard
