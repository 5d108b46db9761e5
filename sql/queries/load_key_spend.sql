-- The window of keys without a reset is the oldest of all and counts for ever; of the others a month
-- of days, weeks and the month itself is enough.
SELECT window_ms, spent_nanos FROM key_spend WHERE key_id = $1
ORDER BY window_ms = 0 DESC, window_ms DESC LIMIT 64
