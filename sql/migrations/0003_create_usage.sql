SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE usage (
    request_id uuid PRIMARY KEY,
    batch_id bigint NOT NULL,
    account_id uuid NOT NULL,
    key_id text NOT NULL,
    shard integer NOT NULL,
    charged_nanos bigint NOT NULL CHECK (charged_nanos >= 0),
    hold_nanos bigint NOT NULL CHECK (hold_nanos >= 0),
    window_ms bigint NOT NULL CHECK (window_ms >= 0),
    status text NOT NULL,
    usage_source text NOT NULL CHECK (usage_source IN ('reported', 'estimated', 'none')),
    model text NOT NULL,
    endpoint text NOT NULL,
    stream boolean NOT NULL,
    input_tokens bigint NOT NULL CHECK (input_tokens >= 0),
    cached_input_tokens bigint NOT NULL CHECK (cached_input_tokens >= 0),
    cache_write_5m_tokens bigint NOT NULL CHECK (cache_write_5m_tokens >= 0),
    cache_write_1h_tokens bigint NOT NULL CHECK (cache_write_1h_tokens >= 0),
    output_tokens bigint NOT NULL CHECK (output_tokens >= 0),
    reasoning_tokens bigint NOT NULL CHECK (reasoning_tokens >= 0),
    audio_input_tokens bigint NOT NULL CHECK (audio_input_tokens >= 0),
    audio_output_tokens bigint NOT NULL CHECK (audio_output_tokens >= 0),
    image_input_tokens bigint NOT NULL CHECK (image_input_tokens >= 0),
    image_output_tokens bigint NOT NULL CHECK (image_output_tokens >= 0),
    requests bigint NOT NULL CHECK (requests >= 0),
    web_searches bigint NOT NULL CHECK (web_searches >= 0),
    audio_seconds bigint NOT NULL CHECK (audio_seconds >= 0),
    characters bigint NOT NULL CHECK (characters >= 0),
    pages bigint NOT NULL CHECK (pages >= 0),
    search_units bigint NOT NULL CHECK (search_units >= 0),
    incarnation text NOT NULL,
    number bigint NOT NULL CHECK (number >= 0),
    upstream text,
    upstream_model text,
    served_model text,
    provider text,
    aggregator text,
    host text,
    jurisdictions text[] NOT NULL,
    upstream_nanos bigint NOT NULL CHECK (upstream_nanos >= 0),
    upstream_stated_nanos bigint,
    price_revision text,
    cost_revision text,
    routing_revision text NOT NULL,
    service_tier text,
    attempts integer NOT NULL CHECK (attempts >= 0),
    http_status integer NOT NULL CHECK (http_status >= 0),
    first_byte_ms bigint,
    duration_ms bigint NOT NULL CHECK (duration_ms >= 0),
    client_address inet,
    client_request_id text,
    CHECK (usage_source <> 'none' OR charged_nanos = 0),
    CHECK (status <> 'orphaned' OR (charged_nanos = 0 AND upstream_nanos = 0)),
    CHECK (upstream_nanos = 0 OR upstream IS NOT NULL)
) PARTITION BY RANGE (request_id);
CREATE INDEX usage_account_id_idx ON usage (account_id, request_id);
COMMENT ON TABLE usage IS 'One row per request, by the month in which its id was minted: counts, names and times, never content. No foreign keys: a row must never keep a batch of others out.';
COMMENT ON COLUMN usage.batch_id IS 'The batch of the books that holds its amount.';
COMMENT ON COLUMN usage.charged_nanos IS 'What the customer pays; an orphaned row pays nothing until a late charge replaces it, once.';
COMMENT ON COLUMN usage.window_ms IS 'Start of the key''s reset window in which the hold was taken.';
COMMENT ON COLUMN usage.number IS 'The gateway incarnation''s own count of its settlements on this shard.';

CREATE FUNCTION ensure_usage_partition(month date) RETURNS boolean LANGUAGE plpgsql
SET lock_timeout = '5s' AS $$
DECLARE
    first_day date := date_trunc('month', month)::date;
    next_month date := (date_trunc('month', month) + interval '1 month')::date;
    partition text := 'usage_' || to_char(first_day, 'YYYY_MM');
BEGIN
    -- One maker at a time; everybody else finds it made.
    PERFORM pg_advisory_xact_lock(hashtextextended('usage partitions', 0));
    IF to_regclass(quote_ident(partition)) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- Attaching takes a lock that lets rows in and out of the other partitions; CREATE … PARTITION
    -- OF would stop them.
    EXECUTE format('CREATE TABLE %I (LIKE usage INCLUDING CONSTRAINTS)', partition);
    EXECUTE format(
        'ALTER TABLE usage ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition, uuid7_floor(first_day), uuid7_floor(next_month)
    );
    RETURN true;
END $$;
COMMENT ON FUNCTION ensure_usage_partition IS 'Makes the partition of a month unless it exists. True where it was made.';

CREATE FUNCTION uuid7_floor(day date) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT (lpad(to_hex((day - date '1970-01-01')::bigint * 86400000), 12, '0') || repeat('0', 20))::uuid
$$;
COMMENT ON FUNCTION uuid7_floor IS 'No greater than any UUIDv7 of the day''s first millisecond, in UTC.';

CREATE TABLE key_spend (
    key_id text NOT NULL,
    window_ms bigint NOT NULL,
    spent_nanos bigint NOT NULL CHECK (spent_nanos >= 0),
    PRIMARY KEY (key_id, window_ms)
) WITH (fillfactor = 70);
COMMENT ON TABLE key_spend IS 'What a key has spent, by the start of its reset window in ms.';

CREATE TABLE incarnations (
    incarnation text NOT NULL,
    shard integer NOT NULL,
    numbers int8multirange NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (incarnation, shard)
) WITH (fillfactor = 50);
COMMENT ON COLUMN incarnations.numbers IS 'Of the settlements that are in here. They may come out of order: a journal forgets only what lies below the first gap.';

CREATE TABLE quarantine (
    shard integer NOT NULL REFERENCES shards,
    entry_id text NOT NULL CHECK (entry_id ~ '^[0-9]{1,20}-[0-9]{1,20}$'),
    raw bytea NOT NULL,
    reason text NOT NULL,
    account_id uuid,
    charged_nanos numeric(30),
    created_at timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    PRIMARY KEY (shard, entry_id)
);
CREATE INDEX quarantine_unresolved_idx ON quarantine (account_id) WHERE resolved_at IS NULL;
COMMENT ON TABLE quarantine IS 'Entries of the charge stream that cannot become usage rows, whole. Their amounts stay a term of verification.';
COMMENT ON COLUMN quarantine.charged_nanos IS 'As stated, where it can be read; it may be out of all bounds.';

CREATE TABLE price_revisions (
    revision text PRIMARY KEY,
    price jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE price_revisions IS 'Every price a charge may refer to: a charge can be recomputed for as long as its row exists.';

CREATE TABLE routing_revisions (
    revision text PRIMARY KEY,
    routing jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE routing_revisions IS 'Every routing table that took traffic.';

REVOKE UPDATE, DELETE, TRUNCATE ON price_revisions, routing_revisions FROM PUBLIC, CURRENT_USER;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON price_revisions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON routing_revisions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
