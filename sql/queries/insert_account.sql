WITH account AS (
    INSERT INTO accounts (
        account_id, email, shard, jurisdictions_allow, jurisdictions_deny,
        transfer_notice_at, transfer_notice_by
    )
    VALUES ($1, $2, $3, $4, $5, CASE WHEN $6::text IS NOT NULL THEN now() END, $6)
    ON CONFLICT (email) DO NOTHING
    RETURNING account_id
)
INSERT INTO wallets (account_id) SELECT account_id FROM account
RETURNING account_id
