-- Bursts, as often as there was something to say of them: the latest row of an id counts. The view bursts shows it.
CREATE TABLE IF NOT EXISTS {{table "burst_states"}} {{on_cluster}}
(
    id         String,
    measure    LowCardinality(String),
    of         LowCardinality(String),
    key        String,
    identity   LowCardinality(String),
    issuer     LowCardinality(String),
    endpoint   String,
    role       LowCardinality(String),
    feed       LowCardinality(String),
    proxy      LowCardinality(String),
    state      Enum8('open' = 1, 'over' = 2, 'lost' = 3),
    severity   Enum8('low' = 2, 'medium' = 3, 'high' = 4),
    start      DateTime64(3, 'UTC'),
    end        DateTime64(3, 'UTC'),
    found      DateTime64(3, 'UTC'),
    updated    DateTime64(6, 'UTC'),
    window_s   UInt32,
    peak       UInt64,
    total      UInt64,
    expected   UInt64,
    limit      UInt64,
    high_water Float64,
    own        UInt64,
    cold       UInt8,
    reason     String,
    project    LowCardinality(String),
    run        String,
    commit     String,
    author     String,
    grade      LowCardinality(String),
    evidence   String
)
ENGINE = {{engine "ReplacingMergeTree" "updated"}}
ORDER BY (start, id)
