INSERT INTO routing_revisions (revision, routing) VALUES ($1, $2::jsonb)
ON CONFLICT (revision) DO NOTHING
