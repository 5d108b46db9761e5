SELECT batch_id, debit_account, credit_account, amount_nanos, account_id, upstream
FROM ledger_entries
WHERE batch_id = ANY($1::bigint[])
ORDER BY batch_id, line
