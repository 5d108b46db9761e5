-- Wallets in Redis may be loaded already: the ledger gets these debits by their sequence.
WITH moved AS (
    UPDATE wallets SET sequence = sequence + 1
    FROM unnest($1::uuid[], $2::bigint[]) AS charged (account_id, amount_nanos)
    WHERE wallets.account_id = charged.account_id
    RETURNING wallets.account_id, wallets.sequence, charged.amount_nanos
)
INSERT INTO movements (account_id, sequence, kind, amount_nanos, reference, actor, reason, batch_id)
SELECT
    account_id, sequence, 'late_debit', -amount_nanos, 'late:' || $3::bigint, 'ledger',
    'charges of an earlier generation', $3
FROM moved
