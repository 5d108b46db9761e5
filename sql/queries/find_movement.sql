SELECT sequence, amount_nanos FROM movements WHERE account_id = $1 AND reference = $2
