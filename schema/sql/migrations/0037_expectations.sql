-- Load that was announced ("haptrail bursts expect"): the latest row of an id counts. factor 0 is any amount.
CREATE TABLE IF NOT EXISTS {{table "expectations"}} {{on_cluster}}
(
    id        String,
    identity  String,
    starts    DateTime64(3, 'UTC'),
    ends      DateTime64(3, 'UTC'),
    factor    Float64,
    owner     String,
    reason    String,
    told      DateTime64(6, 'UTC'),
    withdrawn UInt8
)
ENGINE = {{engine "ReplacingMergeTree" "told"}}
ORDER BY id
