-- What was asked for, by which runs, and what came of it: the busiest first.
SELECT
    t.method AS method, t.endpoint AS endpoint, t.decision AS decision, t.provider AS provider, t.project AS project, t.run AS run, t.commit AS commit,
    t.author AS author, t.grade AS grade, t.role AS role, {{network "toIPv6(t.client_ip)"}} AS network,
    count() AS requests, min(t.time) AS first, max(t.time) AS last
FROM ({{.Trail}}) AS t
WHERE {{template "trail_where.sql" .}}
GROUP BY method, endpoint, decision, provider, project, run, commit, author, grade, role, network
ORDER BY requests DESC, first, method, endpoint
LIMIT {limit:UInt64}
