-- Each change of a judgement: a request's attribution may improve when its run is told late, and is never changed unseen.
CREATE TABLE IF NOT EXISTS {{table "reattributions"}} {{on_cluster}}
(
    attributed_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    hour          DateTime('UTC'),
    subject       LowCardinality(String),
    caller        UInt64,
    revision      UInt32,
    was           String,
    verdict       String
)
ENGINE = {{engine "MergeTree"}}
PARTITION BY toYYYYMM(attributed_at)
ORDER BY (attributed_at, subject)
