-- One row for each identity, run, decision and reason, the busiest first.
SELECT
    min(time) AS first, max(time) AS last,
    identity, provider, project, run, commit, author,
    anyHeavy(concat(method, ' ', endpoint)) AS mostly,
    uniqExact(method, endpoint) AS endpoints,
    count() AS requests,
    arrayMax(mapValues(sumMap(map(toUnixTimestamp(time) DIV 10, toUInt64(1))))) AS peak_10s,
    decision, reason, grade
FROM ({{.Trail}})
WHERE {{template "trail_where.sql" .}}
GROUP BY identity, provider, project, run, commit, author, decision, reason, grade
ORDER BY requests DESC, first, reason
LIMIT {limit:UInt64}
