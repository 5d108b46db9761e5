-- Contiguous from 1 up to the first gap.
SELECT
    incarnation,
    shard,
    coalesce((SELECT upper(run) - 1 FROM unnest(numbers) AS run WHERE lower(run) = 1), 0) AS committed
FROM incarnations
WHERE incarnation = ANY($1::text[])
