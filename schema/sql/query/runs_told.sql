-- The runs of which something was told since a time, as they are by now.
SELECT {{columns}}, t.told AS told
FROM runs AS r
INNER JOIN
(
    SELECT n.provider AS provider, n.project AS project, n.run AS run, n.run_attempt AS run_attempt, max(n.told) AS told
    FROM ci_runs AS n
    WHERE n.told >= fromUnixTimestamp64Milli({since:Int64})
    GROUP BY provider, project, run, run_attempt
) AS t USING (provider, project, run, run_attempt)
ORDER BY told
