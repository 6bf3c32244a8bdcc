-- What HAProxy's stick tables counted, as often as they were looked at: a row for each key that did something since
-- the look before. requests is the growth of the table's watched counter in elapsed_ms, counted that of its other
-- counters, levels its rates and gauges as they were. In full for the time that SetSampleHistory names, then a row
-- a minute, then nothing.
CREATE TABLE IF NOT EXISTS {{table "stick_samples"}} {{on_cluster}}
(
    time        DateTime('UTC') CODEC(Delta, ZSTD(1)),
    proxy       LowCardinality(String) CODEC(ZSTD(1)),
    stick_table LowCardinality(String) CODEC(ZSTD(1)),
    key         String CODEC(ZSTD(1)),
    elapsed_ms  UInt64 CODEC(ZSTD(1)),
    requests    UInt64 CODEC(ZSTD(1)),
    counted     Map(LowCardinality(String), UInt64) CODEC(ZSTD(1)),
    levels      Map(LowCardinality(String), UInt64) CODEC(ZSTD(1)),
    INDEX time time TYPE minmax GRANULARITY 1
)
ENGINE = {{engine "MergeTree"}}
PARTITION BY toYYYYMM(time)
PRIMARY KEY (stick_table, key, proxy, toStartOfMinute(time))
ORDER BY (stick_table, key, proxy, toStartOfMinute(time), time)
TTL time + toIntervalDay(14) GROUP BY stick_table, key, proxy, toStartOfMinute(time)
        SET elapsed_ms = sum(elapsed_ms), requests = sum(requests), counted = sumMap(counted), levels = maxMap(levels), time = min(time),
    time + toIntervalDay(104)
SETTINGS non_replicated_deduplication_window = 1000
