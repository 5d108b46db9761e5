UPDATE shards SET suspect = $3
WHERE shard = $1 AND generation = $2 AND suspect IS NULL AND state <> 'draining'
