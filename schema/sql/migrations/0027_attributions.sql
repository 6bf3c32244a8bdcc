-- What each caller's requests of an hour come from: spans of time, each with its grade and why. The newest judgement
-- counts; those before it are in reattributions. The arrays have one element a span; a span ends where the next begins.
CREATE TABLE IF NOT EXISTS {{table "attributions"}} {{on_cluster}}
(
    hour          DateTime('UTC') CODEC(Delta, ZSTD(1)),
    subject       LowCardinality(String),
    caller        UInt64,
    provider      LowCardinality(String),
    token_id      String,
    claimed_run   String,
    froms         Array(DateTime64(6, 'UTC')),
    grades        Array(LowCardinality(String)),
    projects      Array(LowCardinality(String)),
    jobs          Array(LowCardinality(String)),
    runs          Array(String),
    attempts      Array(UInt32),
    refs          Array(LowCardinality(String)),
    commits       Array(String),
    actors        Array(LowCardinality(String)),
    agents        Array(LowCardinality(String)),
    approvers     Array(LowCardinality(String)),
    candidates    Array(String),
    whys          Array(String),
    contradictions Array(String),
    digest        UInt64,
    verdict       String,
    was           String,
    was_until     DateTime64(3, 'UTC'),
    revision      UInt32,
    attributed_at DateTime64(3, 'UTC')
)
ENGINE = {{engine "ReplacingMergeTree" "revision"}}
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, subject, caller)
