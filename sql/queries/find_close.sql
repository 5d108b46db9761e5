SELECT
    c.month, c.batches, c.usage_rows, c.actor, c.closed_at,
    count(a.account_id) AS accounts,
    coalesce(sum(a.moved_nanos), 0)::text AS moved_nanos,
    coalesce(sum(a.charged_nanos), 0)::text AS charged_nanos,
    coalesce(sum(a.closing_nanos), 0)::text AS closing_nanos
FROM closes AS c LEFT JOIN closed_accounts AS a USING (month)
WHERE c.month = $1
GROUP BY c.month
