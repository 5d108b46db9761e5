SELECT
    k.*,
    a.shard,
    a.jurisdictions_allow AS account_jurisdictions_allow,
    a.jurisdictions_deny AS account_jurisdictions_deny
FROM api_keys AS k
INNER JOIN accounts AS a USING (account_id)
WHERE k.key_id = $1
