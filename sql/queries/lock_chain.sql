-- Nothing is posted into a closed month, wherever the clock is.
SELECT
    batches,
    head_hash,
    greatest(
        date_trunc('milliseconds', clock_timestamp()), (SELECT max(ends_at) FROM closes)
    ) AS at
FROM ledger_chains WHERE chain = $1 FOR NO KEY UPDATE
