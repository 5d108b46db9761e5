SELECT shard, generation, state, suspect, restored_generation FROM shards ORDER BY shard
