-- On a cluster, requests is spread over the shards by identity; on one server this statement does not exist.
{{if .Cluster -}}
CREATE TABLE IF NOT EXISTS {{table "requests"}} {{on_cluster}} AS {{name "requests_local"}}
ENGINE = Distributed('{{.Cluster}}', '{{.Database}}', 'requests_local', cityHash64(subject))
{{- end}}
