UPDATE api_keys
SET
    limit_nanos = $3, reset = $4, requests_per_minute = $5, tokens_per_minute = $6,
    concurrency = $7, epoch = epoch + 1
WHERE key_id = $1 AND epoch = $2
