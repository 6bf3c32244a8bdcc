-- On a cluster, the table in front has the column too; on one server this statement does not exist.
{{if .Cluster -}}
ALTER TABLE {{table "requests"}} {{on_cluster}} ADD COLUMN IF NOT EXISTS caller UInt64
{{- end}}
