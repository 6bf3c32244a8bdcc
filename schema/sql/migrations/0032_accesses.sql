-- When each identity was first seen at each endpoint, as far as was looked at.
CREATE TABLE IF NOT EXISTS {{table "accesses"}} {{on_cluster}}
(
    provider LowCardinality(String),
    subject  LowCardinality(String),
    method   LowCardinality(String),
    endpoint String,
    first    SimpleAggregateFunction(min, DateTime64(6, 'UTC'))
)
ENGINE = {{engine "AggregatingMergeTree"}}
ORDER BY (subject, provider, method, endpoint)
