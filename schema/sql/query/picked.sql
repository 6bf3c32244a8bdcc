{{- if .Keys -}}
arrayZip(CAST({hours:Array(UInt32)} AS Array(DateTime('UTC'))), {subjects:Array(String)}, {callers:Array(UInt64)})
{{- else}}{{template "picks.sql" .}}{{end}}
