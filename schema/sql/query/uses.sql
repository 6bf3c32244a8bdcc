-- What callers did, an hour a row, beside what it was attributed to so far.
SELECT {{columns}}
FROM
(
    SELECT
        a.hour AS hour, a.subject AS subject, a.caller AS caller, any(a.provider) AS provider, any(a.issuer) AS issuer,
        any(a.token_id) AS token_id, any(a.project) AS project, any(a.job) AS job, any(a.run) AS run,
        any(a.run_attempt) AS run_attempt, any(a.ref) AS ref, any(a.commit) AS commit, any(a.actor) AS actor,
        any(a.runner) AS runner, any(a.claimed_run) AS claimed_run,
        min(a.first) AS first, max(a.last) AS last, max(a.stored) AS stored
    FROM uses AS a
    WHERE (a.hour, a.subject, a.caller) IN ({{template "uses_key.sql" .}})
    GROUP BY a.hour, a.subject, a.caller
) AS u
LEFT JOIN
(
    SELECT hour, subject, caller, digest, verdict, was, was_until, revision
    FROM attributions FINAL
    WHERE (hour, subject, caller) IN ({{template "uses_key.sql" .}})
) AS j ON j.hour = u.hour AND j.subject = u.subject AND j.caller = u.caller
ORDER BY u.hour
