-- Chains that do not stand any more as they stood at a month's end.
SELECT c.month, c.chain
FROM closed_chains AS c
LEFT JOIN ledger_batches AS b ON b.chain = c.chain AND b.position = c.batches
WHERE c.batches > 0 AND b.hash IS DISTINCT FROM c.head_hash
ORDER BY c.month, c.chain
LIMIT 100
