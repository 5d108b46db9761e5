SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

ALTER TABLE shards
ADD COLUMN state text NOT NULL DEFAULT 'open' CHECK (state IN ('draining', 'reasserting', 'open')),
ADD COLUMN suspect text CHECK (suspect IN ('tail', 'stream', 'postgres', 'operator')),
ADD COLUMN restored_generation bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN shards.cursor_generation IS 'Whose charge stream the cursor is in: each generation has its own.';
COMMENT ON COLUMN shards.state IS 'Draining: what older generations charged comes in here, no wallet is loaded. Reasserting: wallets are loaded from here, gateways take their holds again. Then open.';
COMMENT ON COLUMN shards.suspect IS 'Why this generation must end: Redis lost its tail or its stream, Postgres is older than Redis, or an operator says so.';
COMMENT ON COLUMN shards.restored_generation IS 'The last one that ended because this database was restored: what it and older ones had settled is in balances already, also where the rows are gone.';

CREATE TABLE gateways (
    incarnation text PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE gateways IS 'Those that live: a recovery waits for what they have recorded and hold.';

CREATE TABLE gateway_steps (
    incarnation text NOT NULL REFERENCES gateways ON DELETE CASCADE,
    shard integer NOT NULL REFERENCES shards,
    generation bigint NOT NULL,
    state text NOT NULL,
    PRIMARY KEY (incarnation, shard)
) WITH (fillfactor = 50);
COMMENT ON TABLE gateway_steps IS 'The last step of a recovery that a gateway has done its part of.';

ALTER TABLE quarantine
ADD COLUMN generation bigint NOT NULL DEFAULT 1,
DROP CONSTRAINT quarantine_entry_id_check,
ADD CHECK (entry_id ~ '^([0-9]{1,20}-[0-9]{1,20}|journal:[0-9A-Za-z-]{1,64}:[0-9]{1,18})$');
UPDATE quarantine SET generation = shards.cursor_generation
FROM shards WHERE shards.shard = quarantine.shard;
COMMENT ON COLUMN quarantine.generation IS 'Of the stream it was read from: once that is over, wallets are loaded without the amount.';

CREATE INDEX movements_created_at_idx ON movements (created_at);
