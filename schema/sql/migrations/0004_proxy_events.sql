-- What HAProxy says on the log stream beside requests: handshake failures, stops, servers going down, its own dropped events.
CREATE TABLE IF NOT EXISTS {{table "proxy_events"}} {{on_cluster}}
(
    time      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    received  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source    LowCardinality(String) CODEC(ZSTD(1)),
    proxy     LowCardinality(String) CODEC(ZSTD(1)),
    pid       UInt32 CODEC(ZSTD(1)),
    kind      LowCardinality(String) CODEC(ZSTD(1)),
    client_ip IPv6 CODEC(ZSTD(1)),
    frontend  LowCardinality(String) CODEC(ZSTD(1)),
    count     UInt64 CODEC(ZSTD(1)),
    text      String CODEC(ZSTD(1))
)
ENGINE = {{engine "MergeTree"}}
PARTITION BY toYYYYMM(received)
ORDER BY (received, kind)
SETTINGS non_replicated_deduplication_window = 10000
