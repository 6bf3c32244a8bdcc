time >= fromUnixTimestamp64Micro({since:Int64}) AND time < fromUnixTimestamp64Micro({until:Int64})
{{- if .Identity}} AND identity LIKE {identity:String}{{end}}
{{- if .Run}} AND (run = {run:String} OR claimed_run = {run:String}){{end}}
{{- if .Commit}} AND startsWith(lower(commit), {commit:String}){{end}}
{{- if .Path}} AND (path = {exact_path:String} OR path LIKE {path:String}){{end}}
{{- if .Decision}} AND decision = {decision:String}{{end}}
