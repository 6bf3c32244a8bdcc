-- What the logs counted of a burst's key, second by second of the answers, as RequestBlock.Tally counts it. time is the
-- second's end. A request that took more than an hour is not found.
SELECT
    toDateTime(r.time + toIntervalMillisecond(greatest(r.active_ms, 0)), 'UTC') + 1 AS time, '' AS key, toUInt64(1000) AS elapsed,
    {{if eq .Measure "kilobytes"}}intDiv(toUInt64(sum(greatest(r.bytes_read, 0))) + 999, 1000){{else}}count(){{end}} AS count
FROM requests AS r
WHERE r.time >= toDateTime({from:UInt32}, 'UTC') - 3600 AND r.time < toDateTime({until:UInt32}, 'UTC')
    {{if .Identity}}AND r.subject = {identity:String}{{else}}AND r.client_ip = toIPv6({client:String}){{if eq .Feed "logs"}} AND r.subject = ''{{end}}{{end}}
{{- if .Endpoint}} AND trimBoth(concat(r.method, ' ', r.endpoint)) = {endpoint:String}{{end}}
{{- if eq .Measure "denials"}} AND r.decision = 'deny'{{end}}
{{- if eq .Measure "errors"}} AND (r.status >= 500 OR r.status <= 0){{end}}
GROUP BY time
HAVING time > toDateTime({from:UInt32}, 'UTC') AND time <= toDateTime({until:UInt32}, 'UTC') AND count > 0
ORDER BY time
