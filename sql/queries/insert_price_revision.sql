INSERT INTO price_revisions (revision, price) VALUES ($1, $2::jsonb)
ON CONFLICT (revision) DO NOTHING
