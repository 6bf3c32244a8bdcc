SELECT DISTINCT a.hour AS hour, a.subject AS subject, a.caller AS caller
FROM attributions AS a
{{- if or .Run .Commit .Author}}
ARRAY JOIN a.runs AS of_run, a.commits AS of_commit{{end}}
WHERE a.hour >= toDateTime({hour:UInt32}, 'UTC') AND a.hour < fromUnixTimestamp64Micro({until:Int64})
{{- if .Identity}} AND a.subject LIKE {identity:String}{{end}}
{{- if .Token}} AND a.token_id = {token:String}{{end}}
{{- if .Run}} AND (of_run = {run:String} OR a.claimed_run = {run:String}){{end}}
{{- if .Commit}} AND startsWith(of_commit, {commit:String}){{end}}
{{- if .Author}} AND of_commit IN (SELECT commit FROM commits WHERE author ILIKE {author:String} OR author_email ILIKE {author:String}){{end}}
{{- if .Some}}
LIMIT {some:UInt64}{{end}}
