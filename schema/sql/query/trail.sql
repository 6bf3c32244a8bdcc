SELECT {{columns}}
FROM ({{.Trail}})
WHERE {{template "trail_where.sql" .}}
ORDER BY time DESC
LIMIT {limit:UInt64}
