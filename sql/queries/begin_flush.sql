-- Committed means on disk: the ledger may forget what the cursor has passed.
SELECT
    set_config('synchronous_commit', 'on', true),
    set_config('lock_timeout', '5s', true),
    set_config('statement_timeout', '30s', true)
