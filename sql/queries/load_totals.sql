-- Late debits are charges, which count as usage.
SELECT
    w.balance_nanos,
    (
        SELECT coalesce(sum(m.amount_nanos), 0)::bigint FROM movements AS m
        WHERE m.account_id = w.account_id AND m.kind <> 'late_debit'
    ) AS credited_nanos
FROM wallets AS w
WHERE w.account_id = $1
