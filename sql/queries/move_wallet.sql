UPDATE wallets SET balance_nanos = balance_nanos + $2, sequence = $3 WHERE account_id = $1
