INSERT INTO price_revisions (revision, price)
SELECT revision, price FROM unnest($1::text[], $2::jsonb[]) AS known (revision, price)
ORDER BY revision
ON CONFLICT (revision) DO NOTHING
