-- Posted before $2: the last close before it, and what came after that.
WITH closed AS (
    SELECT month, ends_at FROM closes WHERE ends_at <= $2 ORDER BY month DESC LIMIT 1
)
SELECT (
    coalesce((
        SELECT c.closing_nanos FROM closed_accounts AS c
        WHERE c.account_id = w.account_id AND c.month = (SELECT month FROM closed)
    ), 0)
    + coalesce((
        SELECT sum(
            CASE WHEN e.credit_account = 'prepayments' THEN e.amount_nanos ELSE -e.amount_nanos END
        )
        FROM ledger_entries AS e INNER JOIN ledger_batches AS b USING (batch_id)
        WHERE
            e.account_id = w.account_id
            AND b.created_at >= coalesce((SELECT ends_at FROM closed), '-infinity')
            AND b.created_at < $2
    ), 0)
)::text AS balance_nanos
FROM wallets AS w WHERE w.account_id = $1
