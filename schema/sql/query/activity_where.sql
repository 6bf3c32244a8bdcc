r.caller != 0 AND cityHash64(r.subject) % {slices:UInt32} = {slice:UInt32}
{{- if .Rejudged}} AND r.received < toDateTime({since:UInt32}, 'UTC') AND (toStartOfHour(r.time), r.subject, r.caller) IN
(
    SELECT hour, subject, caller FROM attributions
    WHERE hour >= toDateTime({from:UInt32}, 'UTC')
        AND attributed_at >= toDateTime({since:UInt32}, 'UTC') AND revision > 1
)
{{- else}} AND r.received >= toDateTime({since:UInt32}, 'UTC')
{{- end}}
