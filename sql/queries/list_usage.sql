SELECT * FROM usage
WHERE
    account_id = $1
    AND ($2::text IS NULL OR key_id = $2)
    AND request_id >= $3 AND request_id < $4
ORDER BY request_id DESC
LIMIT $5
