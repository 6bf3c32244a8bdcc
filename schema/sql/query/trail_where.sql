time >= fromUnixTimestamp64Micro({since:Int64}) AND time < fromUnixTimestamp64Micro({until:Int64})
{{- if .Run}} AND (run = {run:String} OR claimed_run = {run:String}){{end}}
{{- if .Commit}} AND startsWith(commit, {commit:String}){{end}}
{{- if .Author}} AND commit IN (SELECT commit FROM commits WHERE author ILIKE {author:String} OR author_email ILIKE {author:String}){{end}}
{{- if .Grade}} AND grade = {grade:String}{{end}}
