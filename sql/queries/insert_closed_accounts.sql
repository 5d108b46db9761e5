WITH span AS (
    SELECT
        coalesce((SELECT max(ends_at) FROM closes WHERE month < $1), '-infinity') AS begins_at,
        (SELECT ends_at FROM closes WHERE month = $1) AS ends_at
), before AS (
    SELECT account_id, closing_nanos AS nanos FROM closed_accounts
    WHERE month = (SELECT max(month) FROM closes WHERE month < $1)
), line AS (
    SELECT
        e.account_id, b.kind,
        CASE WHEN e.credit_account = 'prepayments' THEN e.amount_nanos ELSE -e.amount_nanos END
        AS nanos
    FROM ledger_batches AS b INNER JOIN ledger_entries AS e USING (batch_id)
    WHERE
        e.account_id IS NOT NULL
        AND b.created_at >= (SELECT begins_at FROM span)
        AND b.created_at < (SELECT ends_at FROM span)
), within AS (
    SELECT
        account_id,
        coalesce(sum(nanos) FILTER (WHERE kind = 'movement'), 0) AS moved,
        coalesce(-sum(nanos) FILTER (WHERE kind = 'flush'), 0) AS charged
    FROM line GROUP BY account_id
)
INSERT INTO closed_accounts
(month, account_id, opening_nanos, moved_nanos, charged_nanos, closing_nanos)
SELECT
    $1, account_id, coalesce(before.nanos, 0), coalesce(within.moved, 0),
    coalesce(within.charged, 0),
    coalesce(before.nanos, 0) + coalesce(within.moved, 0) - coalesce(within.charged, 0)
FROM before FULL JOIN within USING (account_id)
WHERE before.nanos <> 0 OR within.account_id IS NOT NULL
