SELECT account_id FROM usage
WHERE shard = $1 AND request_id > $2
GROUP BY account_id
LIMIT $3
