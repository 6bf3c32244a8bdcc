-- What identities did before a time of their own.
SELECT {{columns}}
FROM
(
    SELECT
        a.provider AS provider, a.subject AS subject, min(a.first) AS first,
        max(if(a.last < {{template "cutoff.sql"}}, a.last, a.first)) AS last
    FROM uses AS a
    WHERE a.hour >= toDateTime({from:UInt32}, 'UTC') AND a.subject IN {subjects:Array(String)}
        AND a.first < {{template "cutoff.sql"}}
    GROUP BY a.provider, a.subject
) AS p
LEFT JOIN
(
    SELECT a.provider AS provider, a.subject AS subject, uniqExact(a.method, a.endpoint) AS endpoints
    FROM accesses AS a
    WHERE a.subject IN {subjects:Array(String)} AND a.first < {{template "cutoff.sql"}}
    GROUP BY a.provider, a.subject
) AS e ON e.provider = p.provider AND e.subject = p.subject
