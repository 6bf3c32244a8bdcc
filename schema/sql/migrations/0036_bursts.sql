-- The bursts, one row each. Column by column: BurstRow in schema/bursts.go.
CREATE VIEW IF NOT EXISTS {{table "bursts"}} {{on_cluster}} AS
SELECT * FROM {{table "burst_states"}} FINAL
