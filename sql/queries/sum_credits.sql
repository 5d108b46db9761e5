SELECT coalesce(sum(amount_nanos), 0)::bigint FROM movements WHERE account_id = $1
