SELECT {{columns}}
FROM trail
WHERE {{template "trail_where.sql" .}}
ORDER BY time DESC
LIMIT {limit:UInt64}
