-- The runs of some names, and those of some principals that were going on at a time. FINAL merges what was said of each
-- of them before it is compared; it reads only the columns that decide, and the view only the runs that were found.
SELECT {{columns}}
FROM runs
WHERE (provider, project, run, run_attempt) IN
    (
        SELECT n.provider, n.project, n.run, n.run_attempt
        FROM ci_runs AS n FINAL
        WHERE n.run IN {runs:Array(String)}
            OR n.principal IN {principals:Array(String)} AND n.started_at <= fromUnixTimestamp64Milli({until:Int64})
                AND (n.finished_at = toDateTime64(0, 3, 'UTC') OR n.finished_at >= fromUnixTimestamp64Milli({from:Int64}))
    )
