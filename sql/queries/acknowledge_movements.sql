UPDATE wallets SET acknowledged_sequence = $2
WHERE account_id = $1 AND acknowledged_sequence < $2
