-- The bursts some of which is in the time asked for, the newest first.
SELECT {{columns}}
FROM bursts AS b
WHERE b.start < fromUnixTimestamp64Micro({until:Int64}) AND (b.state = 'open' OR b.end >= fromUnixTimestamp64Micro({since:Int64}))
{{- if .ID}} AND startsWith(b.id, {id:String}){{end}}
{{- if .Identity}} AND (b.identity LIKE {identity:String} OR b.key LIKE {identity:String}){{end}}
{{- if .Measure}} AND b.measure = {measure:String}{{end}}
{{- if .Severity}} AND b.severity >= CAST({severity:String}, 'Enum8(\'low\' = 2, \'medium\' = 3, \'high\' = 4)'){{end}}
{{- if .Open}} AND b.state = 'open'{{end}}
{{- if not .Updated.IsZero}} AND b.updated > fromUnixTimestamp64Micro({updated:Int64}){{end}}
ORDER BY b.start DESC, b.id
LIMIT {limit:UInt64}
