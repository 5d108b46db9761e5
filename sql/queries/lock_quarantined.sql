-- The cursor only moves on: an entry that it has passed stays below it.
SELECT q.*, s.cursor_generation, s.cursor_stream_id
FROM quarantine AS q INNER JOIN shards AS s USING (shard)
WHERE q.shard = $1 AND q.entry_id = $2
FOR NO KEY UPDATE OF q
