-- CI runs; the row with the greatest version is the run's state.
CREATE TABLE IF NOT EXISTS {{table "runs"}} {{on_cluster}}
(
    provider    LowCardinality(String),
    project     LowCardinality(String),
    job         LowCardinality(String),
    run         String,
    run_attempt UInt32,
    ref         LowCardinality(String),
    commit      String,
    status      LowCardinality(String),
    trigger     LowCardinality(String),
    actor       LowCardinality(String),
    agent       LowCardinality(String),
    principal   LowCardinality(String),
    queued_at   DateTime64(3, 'UTC'),
    started_at  DateTime64(3, 'UTC'),
    finished_at DateTime64(3, 'UTC'),
    version     UInt64
)
ENGINE = {{engine "ReplacingMergeTree" "version"}}
ORDER BY (provider, project, run, run_attempt)
