INSERT INTO closed_chains (month, chain, batches, head_hash)
SELECT $1, c.chain, coalesce(last.position, 0), last.hash
FROM ledger_chains AS c
LEFT JOIN LATERAL (
    SELECT b.position, b.hash FROM ledger_batches AS b
    WHERE b.chain = c.chain AND b.created_at < (SELECT ends_at FROM closes WHERE month = $1)
    ORDER BY b.position DESC LIMIT 1
) AS last ON true
