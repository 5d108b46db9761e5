SELECT sequence, amount_nanos, created_at < now() - interval '10 minutes' AS is_old
FROM movements
WHERE account_id = $1 AND sequence > $2
ORDER BY sequence
LIMIT $3
