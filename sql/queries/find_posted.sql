-- Cursor and settlements in one statement: one snapshot.
SELECT
    s.cursor_generation,
    s.cursor_stream_id,
    coalesce(array_agg(w.incarnation) FILTER (WHERE i.numbers @> w.number), '{}') AS incarnations,
    coalesce(array_agg(w.number) FILTER (WHERE i.numbers @> w.number), '{}') AS numbers
FROM shards AS s
LEFT JOIN unnest($2::text[], $3::bigint[]) AS w (incarnation, number) ON true
LEFT JOIN incarnations AS i ON i.incarnation = w.incarnation AND i.shard = s.shard
WHERE s.shard = $1
GROUP BY s.shard
