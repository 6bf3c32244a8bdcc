-- Alerts that are to be quiet for a time ("haptrail alerts silence"): the latest row of an id counts. An empty kind or
-- identity is any, and * stands for any part of it.
CREATE TABLE IF NOT EXISTS {{table "silences"}} {{on_cluster}}
(
    id        String,
    kind      LowCardinality(String),
    identity  String,
    starts    DateTime64(3, 'UTC'),
    ends      DateTime64(3, 'UTC'),
    owner     String,
    reason    String,
    told      DateTime64(6, 'UTC'),
    withdrawn UInt8
)
ENGINE = {{engine "ReplacingMergeTree" "told"}}
ORDER BY id
