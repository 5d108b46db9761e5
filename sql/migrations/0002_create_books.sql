SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE wallets (
    account_id uuid PRIMARY KEY REFERENCES accounts,
    balance_nanos bigint NOT NULL DEFAULT 0 CHECK (balance_nanos <= 1000000000000000),
    sequence bigint NOT NULL DEFAULT 0 CHECK (sequence >= 0),
    acknowledged_sequence bigint NOT NULL DEFAULT 0 CHECK (acknowledged_sequence >= 0),
    swept_at timestamptz,
    CHECK (acknowledged_sequence <= sequence)
) WITH (fillfactor = 70);
CREATE INDEX wallets_unacknowledged_idx ON wallets (swept_at NULLS FIRST, account_id)
WHERE acknowledged_sequence < sequence;
COMMENT ON TABLE wallets IS 'Balances as of the shard''s cursor: Redis is ahead by the entries past it.';
COMMENT ON COLUMN wallets.balance_nanos IS 'At most 10^6 USD; below zero is debt that a settlement left.';
COMMENT ON COLUMN wallets.sequence IS 'Of the account''s last movement.';
COMMENT ON COLUMN wallets.acknowledged_sequence IS 'Up to here Redis has applied the movements, or was not loaded and gets them with the balance.';

CREATE TABLE book_accounts (
    code text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('asset', 'liability', 'revenue', 'expense')),
    purpose text NOT NULL
);
COMMENT ON TABLE book_accounts IS 'The chart of accounts.';
INSERT INTO book_accounts (code, kind, purpose) VALUES
('clearing', 'asset', 'Money received through banks and processors, before payouts are matched'),
('prepayments', 'liability', 'What customers have paid and not yet used; one sub-account per account'),
('payables', 'liability', 'What upstream parties will invoice; one sub-account per upstream'),
('revenue', 'revenue', 'Requests served'),
('cost_of_sales', 'expense', 'What upstreams charge for requests served'),
('adjustments', 'expense', 'Balance granted or taken without a payment');

CREATE TABLE ledger_chains (
    chain integer PRIMARY KEY REFERENCES shards,
    batches bigint NOT NULL DEFAULT 0 CHECK (batches >= 0),
    head_hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(head_hash) = 32)
) WITH (fillfactor = 50);
COMMENT ON TABLE ledger_chains IS 'One chain of batches per shard; its row is locked last, and briefly.';

CREATE TABLE ledger_batches (
    batch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain integer NOT NULL REFERENCES ledger_chains,
    position bigint NOT NULL CHECK (position >= 1),
    kind text NOT NULL CHECK (kind IN ('flush', 'movement')),
    usage_rows integer NOT NULL DEFAULT 0 CHECK (usage_rows >= 0),
    created_at timestamptz NOT NULL,
    previous_hash bytea NOT NULL CHECK (octet_length(previous_hash) = 32),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    UNIQUE (chain, position)
);
COMMENT ON TABLE ledger_batches IS 'Hash-chained: `hash` covers the previous hash, this row and its entries.';

CREATE TABLE ledger_entries (
    batch_id bigint NOT NULL REFERENCES ledger_batches,
    line integer NOT NULL CHECK (line >= 1),
    debit_account text NOT NULL REFERENCES book_accounts,
    credit_account text NOT NULL REFERENCES book_accounts,
    amount_nanos bigint NOT NULL CHECK (amount_nanos > 0),
    account_id uuid,
    upstream text,
    PRIMARY KEY (batch_id, line),
    CHECK (debit_account <> credit_account),
    CHECK (('prepayments' IN (debit_account, credit_account)) = (account_id IS NOT NULL)),
    CHECK (('payables' IN (debit_account, credit_account)) = (upstream IS NOT NULL))
);
CREATE INDEX ledger_entries_account_id_idx ON ledger_entries (account_id) WHERE account_id IS NOT NULL;
COMMENT ON TABLE ledger_entries IS 'Double entry: every line moves one positive amount from one account of the chart to another.';

CREATE TABLE movements (
    account_id uuid NOT NULL REFERENCES wallets,
    sequence bigint NOT NULL CHECK (sequence >= 1),
    kind text NOT NULL CHECK (kind IN ('top_up', 'adjustment', 'refund', 'chargeback', 'late_debit')),
    amount_nanos bigint NOT NULL CHECK (amount_nanos <> 0),
    reference text NOT NULL CHECK (length(reference) BETWEEN 1 AND 200),
    actor text NOT NULL CHECK (length(actor) BETWEEN 1 AND 200),
    reason text NOT NULL CHECK (length(reason) <= 1000),
    batch_id bigint NOT NULL REFERENCES ledger_batches,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, sequence),
    UNIQUE (account_id, reference)
);
COMMENT ON TABLE movements IS 'Everything that changes a balance from here rather than from Redis, in a sequence without gaps.';
COMMENT ON COLUMN movements.amount_nanos IS 'Signed: what the wallet gains.';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_batches
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON movements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- An owner may give up its own privileges. The trigger holds where they do not: for superusers.
REVOKE UPDATE, DELETE, TRUNCATE ON ledger_batches, ledger_entries, movements FROM PUBLIC, CURRENT_USER;
-- A foreign key locks the row it points at, which asks for the privilege on any one column.
GRANT UPDATE (batch_id) ON ledger_batches TO CURRENT_USER;
