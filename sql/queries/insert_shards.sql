WITH made AS (
    INSERT INTO shards (shard) SELECT generate_series(0, $1::integer - 1)
    ON CONFLICT (shard) DO NOTHING
    RETURNING shard
)
INSERT INTO ledger_chains (chain) SELECT shard FROM made
