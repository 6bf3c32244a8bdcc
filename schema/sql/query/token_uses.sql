-- From where, and by which runs, tokens were used.
SELECT {{columns}}
FROM
(
    SELECT
        a.issuer AS issuer, a.token_id AS token_id, 'network' AS kind, toString(of_network) AS value, '' AS project, '' AS grade,
        min(a.first) AS first, max(a.last) AS last, sum(a.requests) AS requests
    FROM uses AS a
    ARRAY JOIN a.networks AS of_network
    WHERE a.hour >= toDateTime({from:UInt32}, 'UTC') AND a.token_id IN {tokens:Array(String)}
    GROUP BY issuer, token_id, value
    UNION ALL
    SELECT
        a.issuer AS issuer, a.token_id AS token_id, 'claimed' AS kind, a.claimed_run AS value, '' AS project, '' AS grade,
        min(a.first) AS first, max(a.last) AS last, sum(a.requests) AS requests
    FROM uses AS a
    WHERE a.hour >= toDateTime({from:UInt32}, 'UTC') AND a.token_id IN {tokens:Array(String)} AND a.claimed_run != ''
    GROUP BY issuer, token_id, value
    UNION ALL
    SELECT
        a.issuer AS issuer, a.token_id AS token_id, 'attributed' AS kind, j.of_run AS value, j.of_project AS project,
        j.of_grade AS grade, min(a.first) AS first, max(a.last) AS last, sum(a.requests) AS requests
    FROM uses AS a
    INNER JOIN
    (
        SELECT hour, subject, caller, of_run, of_project, of_grade
        FROM attributions FINAL
        ARRAY JOIN runs AS of_run, projects AS of_project, grades AS of_grade
        WHERE hour >= toDateTime({from:UInt32}, 'UTC') AND token_id IN {tokens:Array(String)} AND of_run != ''
    ) AS j ON j.hour = a.hour AND j.subject = a.subject AND j.caller = a.caller
    WHERE a.hour >= toDateTime({from:UInt32}, 'UTC') AND a.token_id IN {tokens:Array(String)}
    GROUP BY issuer, token_id, value, project, grade
)
