UPDATE wallets SET balance_nanos = balance_nanos - charged.amount_nanos
FROM unnest($1::uuid[], $2::bigint[]) AS charged (account_id, amount_nanos)
WHERE wallets.account_id = charged.account_id
