-- What each caller did in each hour: what attribution looks at instead of requests, and where a token, a run or an
-- identity is looked up without reading them. networks are its clients' /24s and /56s, some of them. A block of requests
-- that is inserted again after a crash counts once here too, and counts if the crash came in between (see InsertRequests).
CREATE TABLE IF NOT EXISTS {{table "uses"}} {{on_cluster}}
(
    hour        DateTime('UTC') CODEC(Delta, ZSTD(1)),
    subject     LowCardinality(String),
    caller      UInt64,
    provider    SimpleAggregateFunction(any, LowCardinality(String)),
    issuer      SimpleAggregateFunction(any, LowCardinality(String)),
    token_id    SimpleAggregateFunction(any, String),
    project     SimpleAggregateFunction(any, LowCardinality(String)),
    job         SimpleAggregateFunction(any, LowCardinality(String)),
    run         SimpleAggregateFunction(any, String),
    run_attempt SimpleAggregateFunction(any, LowCardinality(String)),
    ref         SimpleAggregateFunction(any, LowCardinality(String)),
    commit      SimpleAggregateFunction(any, String),
    actor       SimpleAggregateFunction(any, LowCardinality(String)),
    runner      SimpleAggregateFunction(any, LowCardinality(String)),
    claimed_run SimpleAggregateFunction(any, String),
    networks    SimpleAggregateFunction(groupUniqArrayArray(64), Array(IPv6)),
    first       SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    last        SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    requests    SimpleAggregateFunction(sum, UInt64),
    stored      SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    INDEX stored stored TYPE minmax GRANULARITY 1
)
ENGINE = {{engine "AggregatingMergeTree"}}
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, subject, caller)
SETTINGS non_replicated_deduplication_window = 10000
