-- Balance and sequence stand in one row: one snapshot.
SELECT account_id, balance_nanos, sequence FROM wallets WHERE account_id = ANY($1::uuid[])
