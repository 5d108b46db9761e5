-- $1: resolved ones too. $2 and $3, where given: that one.
SELECT q.*, s.cursor_generation, s.cursor_stream_id
FROM quarantine AS q INNER JOIN shards AS s USING (shard)
WHERE
    ($1::boolean OR q.resolved_at IS NULL)
    AND ($2::integer IS NULL OR (q.shard = $2 AND q.entry_id = $3))
ORDER BY q.created_at, q.shard, q.entry_id
LIMIT $4
