-- Commits behind the runs.
CREATE TABLE IF NOT EXISTS {{table "commits"}} {{on_cluster}}
(
    commit       String,
    repository   LowCardinality(String),
    author       LowCardinality(String),
    author_email LowCardinality(String),
    committer    LowCardinality(String),
    committed_at DateTime64(3, 'UTC'),
    subject      String,
    signature    LowCardinality(String),
    version      UInt64
)
ENGINE = {{engine "ReplacingMergeTree" "version"}}
ORDER BY (commit, repository)
