(
    SELECT *
    FROM requests
    WHERE time >= fromUnixTimestamp64Micro({since:Int64}) AND time < fromUnixTimestamp64Micro({until:Int64})
    {{- if .Identity}} AND subject LIKE {identity:String}{{end}}
    {{- if .Client}} AND client_ip = toIPv6({client:String}){{end}}
    {{- if .Path}} AND (path = {exact_path:String} OR path LIKE {path:String}){{end}}
    {{- if .Decision}} AND decision = {decision:String}{{end}}
    {{- if .Token}} AND token_id = {token:String}{{end}}
    {{- if .Picked}} AND ((toStartOfHour(time), subject, caller) IN ({{template "picked.sql" .}})
        {{- if .Nobody}} OR subject = ''{{if .Run}} AND (run = {run:String} OR claimed_run = {run:String}){{end}}{{end}}){{end}}
    {{- if .Newest}} ORDER BY time DESC LIMIT {limit:UInt64}{{end}}
)
