-- When identities were first seen at endpoints.
SELECT a.provider AS provider, a.subject AS subject, a.method AS method, a.endpoint AS endpoint, min(a.first) AS first
FROM accesses AS a
WHERE a.subject IN {subjects:Array(String)} AND a.endpoint IN {endpoints:Array(String)}
GROUP BY provider, subject, method, endpoint
