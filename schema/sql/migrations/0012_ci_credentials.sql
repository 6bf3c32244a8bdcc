-- The long-lived secrets of principals, by name; those that a later listing of their kind does not have stay here,
-- so that an old message cannot bring them back, and the view credentials leaves them out.
CREATE TABLE IF NOT EXISTS {{table "ci_credentials"}} {{on_cluster}}
(
    provider     LowCardinality(String),
    subject      String,
    kind         LowCardinality(String),
    id           String,
    created_at   SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    expires_at   SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    last_used_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    said         SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = {{engine "AggregatingMergeTree"}}
ORDER BY (provider, subject, kind, id)
