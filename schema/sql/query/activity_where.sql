{{if .Nobody}}(r.caller != 0 OR r.decision = 'allow'){{else}}r.caller != 0{{end}} AND cityHash64(r.subject) % {slices:UInt32} = {slice:UInt32}
{{- if .Rejudged}} AND NOT ({{template "activity_received.sql"}}) AND (toStartOfHour(r.time), r.subject, r.caller) IN
(
    SELECT hour, subject, caller FROM attributions
    WHERE hour >= toDateTime({from:UInt32}, 'UTC') AND attributed_at >= toDateTime({since:UInt32}, 'UTC') AND revision > 1
)
{{- else}} AND ({{template "activity_received.sql"}})
{{- end}}
