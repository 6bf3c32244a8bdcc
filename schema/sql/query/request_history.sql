-- What was counted, second by second of the answers, as RequestBlock.Tally counts it.
SELECT
    toDateTime(r.time + toIntervalMillisecond(greatest(r.active_ms, 0)), 'UTC') AS time,
    {{if .Nobody}}'' AS issuer, '' AS subject, r.client_ip AS client{{else}}r.issuer AS issuer, r.subject AS subject, toIPv6('::') AS client{{end}},
    {{if .Endpoints}}r.method AS method, r.endpoint AS endpoint{{else}}'' AS method, '' AS endpoint{{end}},
    {{if .Kilobytes}}intDiv(toUInt64(sum(greatest(r.bytes_read, 0))) + 999, 1000){{else}}count(){{end}} AS count
FROM requests AS r
WHERE r.time >= toDateTime({from:UInt32}, 'UTC') AND r.time < toDateTime({until:UInt32}, 'UTC')
    AND r.subject {{if .Nobody}}={{else}}!={{end}} ''
{{- if .Denied}} AND r.decision = 'deny'{{end}}
{{- if .Failed}} AND (r.status >= 500 OR r.status <= 0){{end}}
GROUP BY time, issuer, subject, client, method, endpoint
HAVING count > 0
ORDER BY time
