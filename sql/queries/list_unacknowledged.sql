-- Least recently swept first, so that one stubborn account does not keep the others waiting.
WITH due AS (
    SELECT account_id FROM wallets
    WHERE acknowledged_sequence < sequence
    ORDER BY swept_at NULLS FIRST, account_id
    LIMIT $1
)
UPDATE wallets SET swept_at = now()
FROM due INNER JOIN accounts USING (account_id)
WHERE wallets.account_id = due.account_id
RETURNING wallets.account_id, wallets.acknowledged_sequence, accounts.shard
