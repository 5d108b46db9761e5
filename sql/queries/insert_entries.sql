INSERT INTO ledger_entries
(batch_id, line, debit_account, credit_account, amount_nanos, account_id, upstream)
SELECT $1, e.line, e.debit_account, e.credit_account, e.amount_nanos, e.account_id, e.upstream
FROM unnest($2::text[], $3::text[], $4::bigint[], $5::uuid[], $6::text[]) WITH ORDINALITY
AS e (debit_account, credit_account, amount_nanos, account_id, upstream, line)
