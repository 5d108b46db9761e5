-- Balances and cursors in one snapshot: a flush moves both in one transaction.
SELECT
    w.account_id, a.shard, w.balance_nanos, w.sequence,
    s.generation, s.state, s.cursor_generation, s.cursor_stream_id
FROM wallets AS w
INNER JOIN accounts AS a USING (account_id)
INNER JOIN shards AS s ON s.shard = a.shard
WHERE w.account_id > $1
ORDER BY w.account_id
LIMIT $2
