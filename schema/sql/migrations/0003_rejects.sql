-- Input that could not be stored as a request, by reason, its text bounded and credentials removed.
CREATE TABLE IF NOT EXISTS {{table "rejects"}} {{on_cluster}}
(
    received DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source   LowCardinality(String) CODEC(ZSTD(1)),
    proxy    LowCardinality(String) CODEC(ZSTD(1)),
    reason   LowCardinality(String) CODEC(ZSTD(1)),
    position UInt32 CODEC(ZSTD(1)),
    length   UInt32 CODEC(ZSTD(1)),
    raw      String CODEC(ZSTD(3))
)
ENGINE = {{engine "MergeTree"}}
PARTITION BY toYYYYMM(received)
ORDER BY (received, source)
SETTINGS non_replicated_deduplication_window = 10000
