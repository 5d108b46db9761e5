SELECT shard, generation FROM shards
