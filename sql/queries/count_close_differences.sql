-- Accounts whose usage rows do not add up to what the month's books charged them.
WITH span AS (
    SELECT
        coalesce((SELECT max(ends_at) FROM closes WHERE month < $1), '-infinity') AS begins_at,
        (SELECT ends_at FROM closes WHERE month = $1) AS ends_at
), detail AS (
    SELECT u.account_id, sum(u.charged_nanos) AS nanos
    FROM usage AS u INNER JOIN ledger_batches AS b USING (batch_id)
    WHERE
        b.created_at >= (SELECT begins_at FROM span) AND b.created_at < (SELECT ends_at FROM span)
    GROUP BY u.account_id
)
SELECT count(*)
FROM detail
FULL JOIN (SELECT account_id, charged_nanos FROM closed_accounts WHERE month = $1) AS booked
    ON booked.account_id = detail.account_id
WHERE coalesce(detail.nanos, 0) <> coalesce(booked.charged_nanos, 0)
