-- Balance and sequence stand in one row: one snapshot. What older generations charged and could not
-- be posted was taken from the customer all the same.
SELECT
    w.account_id, w.sequence,
    w.balance_nanos - coalesce((
        SELECT sum(q.charged_nanos)::bigint FROM quarantine AS q
        WHERE q.account_id = w.account_id AND q.resolved_at IS NULL
    ), 0) AS balance_nanos
FROM wallets AS w WHERE w.account_id = ANY($1::uuid[])
