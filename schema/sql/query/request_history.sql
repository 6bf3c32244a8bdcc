{{- if .Callers -}}
-- The callers that were denied something at a frontend and had not been in the five minutes before, second by second of
-- the answers, as RequestBlock.Denials and CallerForgotten have it.
SELECT
    toDateTime(d.second, 'UTC') AS time, '' AS issuer, '' AS subject, toIPv6('::') AS client, '' AS method, '' AS endpoint,
    d.frontend AS frontend, count() AS count
FROM (
    SELECT
        c.second AS second, c.frontend AS frontend,
        lagInFrame(c.second, 1, 0) OVER (PARTITION BY c.frontend, c.issuer, c.subject, c.client ORDER BY c.second ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS former
    FROM (
        SELECT DISTINCT
            toInt64(toUnixTimestamp(r.time + toIntervalMillisecond(greatest(r.active_ms, 0)))) AS second, if(r.frontend = '', '-', r.frontend) AS frontend,
            if(r.subject = '', '', r.issuer) AS issuer, r.subject AS subject, if(r.subject = '', r.client_ip, toIPv6('::')) AS client
        FROM requests AS r
        WHERE r.time >= toDateTime({from:UInt32}, 'UTC') - {forgotten:UInt32} AND r.time < toDateTime({until:UInt32}, 'UTC') AND r.decision = 'deny'
    ) AS c
) AS d
WHERE d.second - d.former >= {forgotten:UInt32} AND d.second >= {from:UInt32} AND d.second < {until:UInt32}
GROUP BY time, frontend
ORDER BY time
{{- else -}}
-- What was counted, second by second of the answers, as RequestBlock.Tally counts it.
SELECT
    toDateTime(r.time + toIntervalMillisecond(greatest(r.active_ms, 0)), 'UTC') AS time,
    {{if .Nobody}}'' AS issuer, '' AS subject, r.client_ip AS client{{else}}r.issuer AS issuer, r.subject AS subject, toIPv6('::') AS client{{end}},
    {{if .Endpoints}}r.method AS method, r.endpoint AS endpoint{{else}}'' AS method, '' AS endpoint{{end}}, '' AS frontend,
    {{if .Kilobytes}}intDiv(toUInt64(sum(greatest(r.bytes_read, 0))) + 999, 1000){{else}}count(){{end}} AS count
FROM requests AS r
WHERE r.time >= toDateTime({from:UInt32}, 'UTC') AND r.time < toDateTime({until:UInt32}, 'UTC')
    AND r.subject {{if .Nobody}}={{else}}!={{end}} ''
{{- if .Denied}} AND r.decision = 'deny'{{end}}
{{- if .Failed}} AND (r.status >= 500 OR r.status <= 0){{end}}
GROUP BY time, issuer, subject, client, method, endpoint
HAVING count > 0
ORDER BY time
{{- end}}
