-- The findings some of whose requests are in the time asked for, the newest first.
SELECT {{columns}}
FROM findings
WHERE last >= fromUnixTimestamp64Micro({since:Int64}) AND first < fromUnixTimestamp64Micro({until:Int64})
{{- if .Kind}} AND kind = {kind:String}{{end}}
{{- if .Severity}} AND severity >= CAST({severity:String}, 'Enum8(\'low\' = 2, \'medium\' = 3, \'high\' = 4, \'critical\' = 5)'){{end}}
{{- if .Identity}} AND identity LIKE {identity:String}{{end}}
{{- if .Run}} AND run = {run:String}{{end}}
ORDER BY last DESC, key
LIMIT {limit:UInt64}
