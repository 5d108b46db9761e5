SELECT
    k.*,
    a.shard,
    a.jurisdictions_allow AS account_jurisdictions_allow,
    a.jurisdictions_deny AS account_jurisdictions_deny
FROM api_keys AS k
INNER JOIN accounts AS a USING (account_id)
WHERE ($1::uuid IS NULL OR k.account_id = $1) AND k.key_id > $2
ORDER BY k.key_id
LIMIT $3
