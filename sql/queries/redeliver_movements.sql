-- A ledger that lost its last writes may have lost these: applied twice, they change nothing.
WITH recent AS (
    SELECT account_id, min(sequence) - 1 AS before FROM movements
    WHERE created_at > now() - interval '1 day'
    GROUP BY account_id
)
UPDATE wallets SET acknowledged_sequence = least(acknowledged_sequence, recent.before)
FROM recent
WHERE wallets.account_id = recent.account_id AND acknowledged_sequence > recent.before
