INSERT INTO incarnations (incarnation, shard, numbers)
SELECT incarnation, $1, range_agg(int8range(number, number, '[]'))
FROM unnest($2::text[], $3::bigint[]) AS settled (incarnation, number)
GROUP BY incarnation
ORDER BY incarnation
ON CONFLICT (incarnation, shard)
DO UPDATE SET numbers = incarnations.numbers + excluded.numbers, seen_at = now()
