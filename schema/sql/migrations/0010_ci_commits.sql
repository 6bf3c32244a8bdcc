-- What messages of CI servers say of commits, merged as ci.Commit.Merge does. The signature is the one that was said
-- last, so it carries its time: 1 ms after 1970 began for one said at no time, 1970 itself for none.
CREATE TABLE IF NOT EXISTS {{table "ci_commits"}} {{on_cluster}}
(
    commit       String,
    repository   LowCardinality(String),
    author       SimpleAggregateFunction(max, LowCardinality(String)),
    author_email SimpleAggregateFunction(max, LowCardinality(String)),
    committer    SimpleAggregateFunction(max, LowCardinality(String)),
    authored_at  SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))),
    committed_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    subject      SimpleAggregateFunction(max, String),
    signature    SimpleAggregateFunction(max, Tuple(said DateTime64(3, 'UTC'), value String)),
    said         SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = {{engine "AggregatingMergeTree"}}
ORDER BY (commit, repository)
