-- In one order everywhere, so that a flush and a credit never wait for each other in a circle.
SELECT account_id FROM wallets WHERE account_id = ANY($1::uuid[])
ORDER BY account_id FOR NO KEY UPDATE
