-- How far each CI server was polled: the cursor that was saved last.
CREATE TABLE IF NOT EXISTS {{table "ci_cursors"}} {{on_cluster}}
(
    source String,
    cursor SimpleAggregateFunction(max, Tuple(said DateTime64(6, 'UTC'), value String))
)
ENGINE = {{engine "AggregatingMergeTree"}}
ORDER BY source
