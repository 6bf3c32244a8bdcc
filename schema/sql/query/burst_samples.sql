-- What a stick table counted of a burst's key, over all proxies, in order of time.
SELECT s.time AS time, s.key AS key, max(s.elapsed_ms) AS elapsed, sum(s.requests) AS count
FROM stick_samples AS s
WHERE s.stick_table = {stick_table:String} AND s.key = {key:String}
    AND s.time >= toDateTime({from:UInt32}, 'UTC') AND s.time < toDateTime({until:UInt32}, 'UTC')
GROUP BY key, time
ORDER BY time
