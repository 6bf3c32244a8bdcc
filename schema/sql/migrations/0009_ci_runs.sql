-- What messages of CI servers say of runs, merged by the engine as ci.Run.Merge does, whatever their order and however
-- often they come: the earliest queueing and start (NULL: not said), the latest end, the farthest status, the greater
-- text. The view runs shows the outcome. told is the engine's clock, for finding what is new; it is no part of it.
CREATE TABLE IF NOT EXISTS {{table "ci_runs"}} {{on_cluster}}
(
    provider    LowCardinality(String),
    project     LowCardinality(String),
    run         String,
    run_attempt UInt32,
    job         SimpleAggregateFunction(max, LowCardinality(String)),
    name        SimpleAggregateFunction(max, String),
    ref         SimpleAggregateFunction(max, LowCardinality(String)),
    commit      SimpleAggregateFunction(max, String),
    status      SimpleAggregateFunction(max, Enum8('' = 0, 'queued' = 1, 'running' = 2, 'skipped' = 3, 'canceled' = 4, 'failed' = 5, 'succeeded' = 6)),
    trigger     SimpleAggregateFunction(max, LowCardinality(String)),
    actor       SimpleAggregateFunction(max, LowCardinality(String)),
    agent       SimpleAggregateFunction(max, LowCardinality(String)),
    principal   SimpleAggregateFunction(max, LowCardinality(String)),
    approver    SimpleAggregateFunction(max, LowCardinality(String)),
    queued_at   SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))),
    started_at  SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))),
    finished_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    said        SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    told        SimpleAggregateFunction(max, DateTime64(3, 'UTC')) DEFAULT now64(3, 'UTC')
)
ENGINE = {{engine "AggregatingMergeTree"}}
ORDER BY (provider, project, run, run_attempt)
