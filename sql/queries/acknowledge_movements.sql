UPDATE wallets SET acknowledged_sequence = least($2, sequence)
WHERE account_id = $1 AND acknowledged_sequence < least($2, sequence)
