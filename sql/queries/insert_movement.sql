INSERT INTO movements (account_id, sequence, kind, amount_nanos, reference, actor, reason, batch_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
