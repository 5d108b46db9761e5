SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE closes (
    month date PRIMARY KEY CHECK (extract(day FROM month) = 1),
    ends_at timestamptz NOT NULL UNIQUE,
    batches bigint NOT NULL CHECK (batches >= 0),
    usage_rows bigint NOT NULL CHECK (usage_rows >= 0),
    actor text NOT NULL CHECK (length(actor) BETWEEN 1 AND 200),
    closed_at timestamptz NOT NULL DEFAULT now(),
    CHECK (ends_at = (month + interval '1 month') AT TIME ZONE 'UTC'),
    CHECK (closed_at >= ends_at)
);
COMMENT ON TABLE closes IS 'Months of the books that are over, by the time of posting in UTC: nothing is posted into them any more, and their usage rows may leave.';
COMMENT ON COLUMN closes.usage_rows IS 'As they were flushed; a late charge that replaced an orphan counts in both its batches.';

CREATE TABLE closed_accounts (
    month date NOT NULL REFERENCES closes,
    account_id uuid NOT NULL,
    opening_nanos bigint NOT NULL,
    moved_nanos bigint NOT NULL,
    charged_nanos bigint NOT NULL CHECK (charged_nanos >= 0),
    closing_nanos bigint NOT NULL,
    PRIMARY KEY (month, account_id),
    CHECK (opening_nanos + moved_nanos - charged_nanos = closing_nanos)
);
COMMENT ON TABLE closed_accounts IS 'Of every account with a balance or a turnover: where the next month, and every verification, starts from.';

CREATE TABLE closed_codes (
    month date NOT NULL REFERENCES closes,
    code text NOT NULL REFERENCES book_accounts,
    opening_nanos numeric(30) NOT NULL,
    debited_nanos numeric(30) NOT NULL CHECK (debited_nanos >= 0),
    credited_nanos numeric(30) NOT NULL CHECK (credited_nanos >= 0),
    closing_nanos numeric(30) NOT NULL,
    PRIMARY KEY (month, code),
    CHECK (opening_nanos + debited_nanos - credited_nanos = closing_nanos)
);
COMMENT ON TABLE closed_codes IS 'The month''s trial balance: debits less credits.';

CREATE TABLE closed_chains (
    month date NOT NULL REFERENCES closes,
    chain integer NOT NULL REFERENCES ledger_chains,
    batches bigint NOT NULL CHECK (batches >= 0),
    head_hash bytea CHECK (octet_length(head_hash) = 32),
    PRIMARY KEY (month, chain),
    CHECK ((batches = 0) = (head_hash IS NULL))
);
COMMENT ON TABLE closed_chains IS 'Where each chain stood at the month''s end.';

CREATE INDEX ledger_batches_created_at_idx ON ledger_batches (created_at);

REVOKE UPDATE, DELETE, TRUNCATE ON closes, closed_accounts, closed_codes, closed_chains FROM PUBLIC, CURRENT_USER;
-- A foreign key locks the row it points at, which asks for the privilege on any one column.
GRANT UPDATE (month) ON closes TO CURRENT_USER;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON closes
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON closed_accounts
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON closed_codes
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON closed_chains
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
