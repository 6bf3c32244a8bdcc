-- The alerts that fired in the time asked for, the newest first.
SELECT {{columns}}
FROM alerts AS a
WHERE a.start < fromUnixTimestamp64Micro({until:Int64})
    AND (toUnixTimestamp64Milli(a.end) = 0 OR a.end >= fromUnixTimestamp64Micro({since:Int64}))
{{- if .Kind}} AND a.kind = {kind:String}{{end}}
{{- if .Identity}} AND a.identity LIKE {identity:String}{{end}}
{{- if .Firing}} AND toUnixTimestamp64Milli(a.end) = 0{{end}}
ORDER BY a.start DESC, a.key
LIMIT {limit:UInt64}
