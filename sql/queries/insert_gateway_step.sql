INSERT INTO gateway_steps (incarnation, shard, generation, state) VALUES ($1, $2, $3, $4)
ON CONFLICT (incarnation, shard) DO UPDATE
SET generation = excluded.generation, state = excluded.state
