-- What was denied at a frontend: all of it, by reason and by endpoint, the most frequent first.
SELECT
    of, if(of = 'reason', r.reason, '') AS reason, if(of = 'endpoint', r.method, '') AS method, if(of = 'endpoint', r.endpoint, '') AS endpoint,
    count() AS requests, uniqExact(r.client_ip) AS addresses, uniqExactIf((r.issuer, r.subject), r.subject != '') AS identities,
    min(r.time) AS first, max(r.time) AS last
FROM requests AS r ARRAY JOIN ['all', 'reason', 'endpoint'] AS of
WHERE r.time >= fromUnixTimestamp64Micro({since:Int64}) AND r.time < fromUnixTimestamp64Micro({until:Int64})
    AND r.decision = 'deny' AND r.frontend = {frontend:String}
GROUP BY of, reason, method, endpoint
ORDER BY requests DESC, reason, method, endpoint
LIMIT {limit:UInt64} BY of
