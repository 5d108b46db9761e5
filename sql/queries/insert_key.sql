INSERT INTO api_keys (
    key_id, account_id, secret_hash, name, limit_nanos, reset, requests_per_minute,
    tokens_per_minute, concurrency, models_allow, jurisdictions_allow, jurisdictions_deny,
    expires_at_ms
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
