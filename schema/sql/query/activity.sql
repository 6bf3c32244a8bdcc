-- What callers did at each place, an hour and a verdict a row. Few attributions have more than one span: only those are
-- looked up for each request.
SELECT {{columns}}
FROM
(
    SELECT
        toStartOfHour(r.time) AS hour, greatest(1, arrayLastIndex(f -> f <= r.time, s.froms)) AS span,
        any(r.subject) AS subject, r.caller AS caller, r.backend AS backend, r.role AS role,
        r.method AS method, r.host AS host, r.endpoint AS endpoint, r.decision AS decision,
        if(r.caller = 0, toIPv6('::'), {{network "r.client_ip"}}) AS network,
        any(r.provider) AS provider, any(r.issuer) AS issuer, any(r.token_id) AS token_id, any(r.key_id) AS key_id,
        any(r.audience) AS audience, any(r.project) AS project, any(r.job) AS job, any(r.run) AS run,
        any(r.run_attempt) AS run_attempt, any(r.ref) AS ref, any(r.commit) AS commit, any(r.actor) AS actor,
        any(r.runner) AS runner, any(r.claimed_run) AS claimed_run, max(r.issued_at) AS issued_at,
        max(r.expires_at) AS expires_at, min(r.time) AS first, max(r.time) AS last, max(r.received) AS received,
        count() AS requests
    FROM requests AS r
    LEFT JOIN
    (
        SELECT hour, subject, caller, froms
        FROM attributions FINAL
        WHERE length(froms) > 1 AND (hour, subject, caller) IN
            (SELECT DISTINCT toStartOfHour(r.time), r.subject, r.caller FROM requests AS r WHERE {{template "activity_where.sql" .}})
    ) AS s ON s.hour = toStartOfHour(r.time) AND s.subject = r.subject AND s.caller = r.caller
    WHERE {{template "activity_where.sql" .}}
    GROUP BY hour, span, r.caller, r.backend, r.role, r.method, r.host, r.endpoint, r.decision, network
) AS u
LEFT JOIN
(
    SELECT hour, subject, caller, grades, projects, jobs, runs, attempts, refs, commits, actors, agents, approvers,
        candidates, whys, contradictions
    FROM attributions FINAL
    WHERE (hour, subject, caller) IN
        (SELECT DISTINCT toStartOfHour(r.time), r.subject, r.caller FROM requests AS r WHERE {{template "activity_where.sql" .}})
) AS j ON j.hour = u.hour AND j.subject = u.subject AND j.caller = u.caller
ORDER BY u.hour, u.first
