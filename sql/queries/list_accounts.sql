SELECT * FROM accounts WHERE account_id > $1 ORDER BY account_id LIMIT $2
