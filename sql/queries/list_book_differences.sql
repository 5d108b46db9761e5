-- What the books owe a customer against the wallet, in one snapshot.
WITH owed AS (
    SELECT
        account_id,
        sum(CASE WHEN credit_account = 'prepayments' THEN amount_nanos ELSE 0 END)
        - sum(CASE WHEN debit_account = 'prepayments' THEN amount_nanos ELSE 0 END) AS nanos
    FROM ledger_entries
    WHERE account_id IS NOT NULL
    GROUP BY account_id
)
SELECT
    coalesce(owed.account_id, w.account_id) AS account_id,
    (coalesce(owed.nanos, 0) - coalesce(w.balance_nanos, 0))::text AS difference_nanos
FROM owed FULL JOIN wallets AS w ON w.account_id = owed.account_id
WHERE coalesce(owed.nanos, 0) <> coalesce(w.balance_nanos, 0)
ORDER BY 1
LIMIT $1
