-- What the books owe a customer against the wallet, in one snapshot: from the last close on.
WITH closed AS (
    SELECT month, ends_at FROM closes ORDER BY month DESC LIMIT 1
), line AS (
    SELECT account_id, closing_nanos AS nanos FROM closed_accounts
    WHERE month = (SELECT month FROM closed)
    UNION ALL
    SELECT
        e.account_id,
        CASE WHEN e.credit_account = 'prepayments' THEN e.amount_nanos ELSE -e.amount_nanos END
    FROM ledger_batches AS b INNER JOIN ledger_entries AS e USING (batch_id)
    WHERE
        e.account_id IS NOT NULL
        AND b.created_at >= coalesce((SELECT ends_at FROM closed), '-infinity')
), owed AS (
    SELECT account_id, sum(nanos) AS nanos FROM line GROUP BY account_id
)
SELECT
    coalesce(owed.account_id, w.account_id) AS account_id,
    (coalesce(owed.nanos, 0) - coalesce(w.balance_nanos, 0))::text AS difference_nanos
FROM owed FULL JOIN wallets AS w ON w.account_id = owed.account_id
WHERE coalesce(owed.nanos, 0) <> coalesce(w.balance_nanos, 0)
ORDER BY 1
LIMIT $1
