-- The alerts, one row for each time that one fired. Column by column: AlertRow in schema/alerts.go.
CREATE VIEW IF NOT EXISTS {{table "alerts"}} {{on_cluster}} AS
SELECT * FROM {{table "alert_states"}} FINAL
