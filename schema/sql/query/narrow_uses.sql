{{if .Picked -}}
WHERE (u.hour, u.subject, u.caller) IN ({{template "picked.sql" .}})
{{- else -}}
WHERE u.hour >= toDateTime({hour:UInt32}, 'UTC') AND u.hour < fromUnixTimestamp64Micro({until:Int64})
{{- if .Identity}} AND u.subject LIKE {identity:String}{{end}}
{{- end}}
