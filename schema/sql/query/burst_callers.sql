-- The callers that were denied something at a frontend, second by second: see request_history.sql. time is the second's end.
SELECT h.time + 1 AS time, '' AS key, toUInt64(1000) AS elapsed, toUInt64(h.count) AS count
FROM ({{template "request_history.sql" .}}) AS h
WHERE h.frontend = {frontend:String}
ORDER BY time
