SELECT b.code, b.kind, coalesce(sum(side.nanos), 0)::text AS debit_nanos
FROM book_accounts AS b
LEFT JOIN (
    SELECT debit_account AS code, amount_nanos AS nanos FROM ledger_entries
    UNION ALL
    SELECT credit_account, -amount_nanos FROM ledger_entries
) AS side USING (code)
GROUP BY b.code, b.kind
ORDER BY b.code
