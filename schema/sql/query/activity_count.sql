SELECT uniq(r.caller, r.backend, r.method, r.endpoint)
FROM requests AS r
WHERE {{template "activity_where.sql" .}}
