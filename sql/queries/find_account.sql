SELECT * FROM accounts WHERE account_id = $1
