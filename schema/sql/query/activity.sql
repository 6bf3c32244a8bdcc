-- What callers did at each place, an hour a row, with the verdict that holds at its last request.
SELECT {{columns}}
FROM
(
    SELECT
        toStartOfHour(r.time) AS hour, any(r.subject) AS subject, r.caller AS caller, r.backend AS backend, r.role AS role,
        r.method AS method, r.host AS host, r.endpoint AS endpoint, r.decision AS decision,
        {{network "r.client_ip"}} AS network,
        any(r.provider) AS provider, any(r.issuer) AS issuer, any(r.token_id) AS token_id, any(r.key_id) AS key_id,
        any(r.audience) AS audience, any(r.project) AS project, any(r.job) AS job, any(r.run) AS run,
        any(r.run_attempt) AS run_attempt, any(r.ref) AS ref, any(r.commit) AS commit, any(r.actor) AS actor,
        any(r.runner) AS runner, any(r.claimed_run) AS claimed_run, max(r.issued_at) AS issued_at,
        max(r.expires_at) AS expires_at, min(r.time) AS first, max(r.time) AS last, count() AS requests
    FROM requests AS r
    WHERE {{template "activity_where.sql" .}}
    GROUP BY hour, r.caller, r.backend, r.role, r.method, r.host, r.endpoint, r.decision, network
) AS u
LEFT JOIN
(
    SELECT hour, subject, caller, froms, grades, projects, jobs, runs, attempts, refs, commits, actors, agents, approvers,
        candidates, whys, contradictions
    FROM attributions FINAL
    WHERE (hour, subject, caller) IN
        (SELECT DISTINCT toStartOfHour(r.time), r.subject, r.caller FROM requests AS r WHERE {{template "activity_where.sql" .}})
) AS j ON j.hour = u.hour AND j.subject = u.subject AND j.caller = u.caller
ORDER BY u.hour, u.first
