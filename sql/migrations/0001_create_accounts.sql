SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE schema_migrations (
    name text PRIMARY KEY CHECK (name ~ '^[0-9]{4}_[a-z0-9_]+$'),
    checksum bytea NOT NULL CHECK (octet_length(checksum) = 32),
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE schema_migrations IS 'What was applied, with the SHA-256 of its text: an applied migration never changes.';

CREATE TABLE deployment (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    shards integer NOT NULL CHECK (shards BETWEEN 1 AND 4096),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE deployment IS 'One row of settings that cannot change once accounts exist: a boot that differs is refused.';

CREATE TABLE shards (
    shard integer PRIMARY KEY CHECK (shard >= 0),
    generation bigint NOT NULL DEFAULT 1 CHECK (generation >= 1),
    cursor_generation bigint NOT NULL DEFAULT 1 CHECK (cursor_generation >= 1),
    cursor_stream_id text NOT NULL DEFAULT '0-0' CHECK (cursor_stream_id ~ '^[0-9]{1,20}-[0-9]{1,20}$'),
    flusher_owner text,
    flusher_until timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE shards IS 'The fence of every flush: its generation, who may flush, and how far the charge stream is in here.';
COMMENT ON COLUMN shards.generation IS 'Rises when a shard''s memory is lost or suspect; whoever holds the old one is out.';
COMMENT ON COLUMN shards.cursor_generation IS 'The generation in which the cursor last moved.';

CREATE TABLE accounts (
    account_id uuid PRIMARY KEY,
    email text NOT NULL UNIQUE CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    shard integer NOT NULL REFERENCES shards,
    jurisdictions_allow text[],
    jurisdictions_deny text[] NOT NULL DEFAULT '{}',
    transfer_notice_at timestamptz,
    transfer_notice_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((transfer_notice_at IS NULL) = (transfer_notice_by IS NULL))
);
COMMENT ON COLUMN accounts.shard IS 'For ever: every key of the account in Redis carries it.';
COMMENT ON COLUMN accounts.jurisdictions_allow IS 'Countries and group names as written; NULL = no bound of its own.';
COMMENT ON COLUMN accounts.transfer_notice_by IS 'Who attests that the account was shown the notice on transfers: an operator''s name, or the account itself.';

CREATE TABLE api_keys (
    key_id text PRIMARY KEY CHECK (length(key_id) BETWEEN 1 AND 64),
    account_id uuid NOT NULL REFERENCES accounts,
    secret_hash bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    name text NOT NULL DEFAULT '' CHECK (length(name) <= 100),
    epoch bigint NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    limit_nanos bigint CHECK (limit_nanos >= 0),
    reset text NOT NULL DEFAULT 'none' CHECK (reset IN ('none', 'daily', 'weekly', 'monthly')),
    requests_per_minute bigint CHECK (requests_per_minute >= 0),
    tokens_per_minute bigint CHECK (tokens_per_minute >= 0),
    concurrency bigint CHECK (concurrency >= 0),
    models_allow text[],
    jurisdictions_allow text[],
    jurisdictions_deny text[] NOT NULL DEFAULT '{}',
    expires_at_ms bigint CHECK (expires_at_ms >= 0),
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX api_keys_account_id_idx ON api_keys (account_id, key_id);
COMMENT ON TABLE api_keys IS 'Keys are revoked, never deleted: usage names them.';
COMMENT ON COLUMN api_keys.secret_hash IS 'HMAC-SHA256 of the secret under a key derived from APILINK_SECRET_KEY.';
COMMENT ON COLUMN api_keys.epoch IS 'Rises with every change, first here and then in Redis: the next request anywhere sees it.';
