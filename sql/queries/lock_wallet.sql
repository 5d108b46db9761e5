SELECT w.balance_nanos, w.sequence, a.shard
FROM wallets AS w INNER JOIN accounts AS a USING (account_id)
WHERE w.account_id = $1
FOR NO KEY UPDATE OF w
