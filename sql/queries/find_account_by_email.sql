SELECT * FROM accounts WHERE email = $1
