-- Alerts, as often as they changed: the latest row of one key and start counts. The view alerts shows it.
CREATE TABLE IF NOT EXISTS {{table "alert_states"}} {{on_cluster}}
(
    key      String,
    kind     LowCardinality(String),
    severity Enum8('info' = 1, 'low' = 2, 'medium' = 3, 'high' = 4, 'critical' = 5),
    title    String,
    text     String,
    identity LowCardinality(String),
    run      String,
    commit   String,
    start    DateTime64(3, 'UTC'),
    end      DateTime64(3, 'UTC'),
    updated  DateTime64(6, 'UTC'),
    command  String
)
ENGINE = {{engine "ReplacingMergeTree" "updated"}}
ORDER BY (start, key)
