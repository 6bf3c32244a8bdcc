-- Allowed writes to protected places, one for each run and credential; for each hour where no run is known.
CREATE TABLE IF NOT EXISTS {{table "deploys"}} {{on_cluster}}
(
    provider LowCardinality(String),
    subject  LowCardinality(String),
    project  LowCardinality(String),
    run      String,
    issuer   LowCardinality(String),
    token_id String,
    key_id   LowCardinality(String),
    hour     DateTime('UTC'),
    first    SimpleAggregateFunction(min, DateTime64(6, 'UTC'))
)
ENGINE = {{engine "AggregatingMergeTree"}}
ORDER BY (subject, provider, project, run, issuer, token_id, key_id, hour)
