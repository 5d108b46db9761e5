-- Debits less credits before $1 (NULL: ever), and the turnover in [$1, $2); from the last close on.
WITH span AS (
    SELECT
        coalesce($1::timestamptz, 'infinity') AS begins_at,
        coalesce($2::timestamptz, 'infinity') AS ends_at
), closed AS (
    SELECT month, ends_at FROM closes
    WHERE ends_at <= (SELECT begins_at FROM span)
    ORDER BY month DESC LIMIT 1
), entry AS (
    SELECT
        e.debit_account, e.credit_account, e.amount_nanos,
        b.created_at < (SELECT begins_at FROM span) AS is_before
    FROM ledger_batches AS b INNER JOIN ledger_entries AS e USING (batch_id)
    WHERE
        b.created_at >= coalesce((SELECT ends_at FROM closed), '-infinity')
        AND b.created_at < (SELECT ends_at FROM span)
), side AS (
    SELECT debit_account AS code, amount_nanos AS debit, 0 AS credit, is_before FROM entry
    UNION ALL
    SELECT credit_account, 0, amount_nanos, is_before FROM entry
)
SELECT
    a.code,
    a.kind,
    (
        coalesce(max(c.closing_nanos), 0)
        + coalesce(sum(side.debit - side.credit) FILTER (WHERE side.is_before), 0)
    )::text AS opening_nanos,
    coalesce(sum(side.debit) FILTER (WHERE NOT side.is_before), 0)::text AS debited_nanos,
    coalesce(sum(side.credit) FILTER (WHERE NOT side.is_before), 0)::text AS credited_nanos
FROM book_accounts AS a
LEFT JOIN closed_codes AS c ON c.code = a.code AND c.month = (SELECT month FROM closed)
LEFT JOIN side ON side.code = a.code
GROUP BY a.code, a.kind
ORDER BY a.code
