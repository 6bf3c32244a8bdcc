-- The chunks of log files that were imported, so that a file imported again adds nothing and a grown one only what is new.
CREATE TABLE IF NOT EXISTS {{table "imports"}} {{on_cluster}}
(
    chunk    String,
    lines    UInt32,
    partial  UInt8,
    file     String,
    imported DateTime('UTC')
)
ENGINE = {{engine "ReplacingMergeTree" "imported"}}
ORDER BY chunk
