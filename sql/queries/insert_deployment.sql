INSERT INTO deployment (shards) VALUES ($1) ON CONFLICT (one) DO NOTHING
