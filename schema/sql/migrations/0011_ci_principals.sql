-- What messages of CI servers say of the accounts that tokens speak for, merged as ci.Principal.Merge does. What may
-- change is as it was said last, so it carries its time, as a commit's signature does. listed is when all credentials
-- of a kind were told.
CREATE TABLE IF NOT EXISTS {{table "ci_principals"}} {{on_cluster}}
(
    provider     LowCardinality(String),
    subject      String,
    name         SimpleAggregateFunction(max, Tuple(said DateTime64(3, 'UTC'), value String)),
    owner        SimpleAggregateFunction(max, Tuple(said DateTime64(3, 'UTC'), value String)),
    project      SimpleAggregateFunction(max, LowCardinality(String)),
    archived     SimpleAggregateFunction(max, Tuple(said DateTime64(3, 'UTC'), value Bool)),
    rights       SimpleAggregateFunction(max, Tuple(said DateTime64(3, 'UTC'), value Array(String))),
    created_at   SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))),
    last_used_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    listed       SimpleAggregateFunction(maxMap, Map(String, DateTime64(3, 'UTC'))),
    said         SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = {{engine "AggregatingMergeTree"}}
ORDER BY (provider, subject)
