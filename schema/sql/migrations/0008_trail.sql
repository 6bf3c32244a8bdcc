-- Who touched what, from which run and commit, and how sure that is:
--   proven        a signed claim names the run
--   corroborated  an unsigned header names the run, and the CI's own record of it
--                 confirms who it was and when (five minutes of slack)
--   inferred      exactly one known run of the principal was going on at the time
--   ambiguous     several were
--   none          nothing ties the request to a run
-- A request without a verified subject is never tied to anybody's run.
CREATE VIEW IF NOT EXISTS {{table "trail"}} {{on_cluster}} AS
WITH
    -- Each attempt of a run is active from its start to its end, or still.
    attempts AS
    (
        SELECT
            s.provider AS provider, s.project AS project, s.run AS run, s.job AS job, s.commit AS commit,
            s.principal AS principal, s.run_attempt AS attempt,
            s.started_at - INTERVAL 5 MINUTE AS active_from,
            if(s.finished_at = toDateTime64(0, 3, 'UTC'), toDateTime64('2299-01-01 00:00:00', 3, 'UTC'), s.finished_at + INTERVAL 5 MINUTE) AS active_to,
            s.started_at != toDateTime64(0, 3, 'UTC') AS started
        FROM {{table "runs"}} AS s FINAL
    ),
    -- A run is known by its name where one project of the provider has it.
    runs_of_provider AS
    (
        SELECT
            a.provider AS provider, a.run AS run, any(a.project) AS project, argMax(a.job, a.attempt) AS job,
            argMax(a.commit, a.attempt) AS commit, argMax(a.principal, a.attempt) AS principal,
            groupArrayIf((a.active_from, a.active_to), a.started) AS windows
        FROM attempts AS a
        GROUP BY a.provider, a.run
        HAVING uniqExact(a.project) = 1
    ),
    -- A log that does not say the provider can still name a run whose id only one provider has.
    runs_by_name AS
    (
        SELECT * FROM runs_of_provider
        UNION ALL
        SELECT
            '' AS provider, k.run, any(k.project), any(k.job), any(k.commit), any(k.principal), any(k.windows)
        FROM runs_of_provider AS k
        GROUP BY k.run
        HAVING count() = 1
    ),
    principals AS
    (
        SELECT
            a.provider AS provider, a.principal AS principal,
            groupArray((a.active_from, a.active_to, a.run, a.project, a.job, a.commit)) AS windows
        FROM attempts AS a
        WHERE a.principal != '' AND a.started
        GROUP BY a.provider, a.principal
    ),
    runs_by_principal AS
    (
        SELECT * FROM principals
        UNION ALL
        SELECT '' AS provider, k.principal, any(k.windows)
        FROM principals AS k
        GROUP BY k.principal
        HAVING count() = 1
    ),
    authors AS
    (
        SELECT m.commit AS commit, any(m.author) AS author, any(m.subject) AS subject
        FROM {{table "commits"}} AS m FINAL
        GROUP BY m.commit
    ),
    graded AS
    (
        SELECT
            r.time AS time, r.subject AS identity, r.provider AS provider, r.run AS claim, r.project AS claim_project,
            r.job AS claim_job, r.commit AS claim_commit, r.run_attempt AS run_attempt, r.ref AS ref, r.actor AS actor,
            r.runner AS runner, r.method AS method, r.host AS host, r.path AS path, r.endpoint AS endpoint,
            r.status AS status, r.decision AS decision, r.reason AS reason, r.role AS role, r.client_ip AS client_ip,
            r.frontend AS frontend, r.backend AS backend, r.server AS server, r.bytes_read AS bytes_read,
            r.active_ms AS active_ms, r.termination_state AS termination_state, r.token_id AS token_id,
            r.claimed_run AS claimed_run, r.unique_id AS unique_id, r.source AS source, r.proxy AS proxy, r.pid AS pid,
            r.request_counter AS request_counter, r.marks AS marks, r.block AS block,
            n.project AS known_project, n.job AS known_job, n.commit AS known_commit,
            claim = '' AND claimed_run != '' AND r.subject != ''
                AND arrayExists(w -> r.time BETWEEN w.1 AND w.2, n.windows)
                AND (claim_project = '' OR claim_project = n.project)
                AND (r.subject = n.principal OR (n.principal = '' AND claim_project != '')) AS confirmed,
            if(claim = '' AND NOT confirmed AND r.subject != '',
                arrayFilter(w -> r.time BETWEEN w.1 AND w.2 AND (claim_project = '' OR claim_project = w.4), p.windows), []) AS candidates,
            length(arrayDistinct(arrayMap(w -> (w.3, w.4), candidates))) AS candidate_runs,
            multiIf(
                claim != '', 'proven',
                confirmed, 'corroborated',
                candidate_runs = 1, 'inferred',
                candidate_runs > 1, 'ambiguous',
                'none') AS grade
        FROM {{table "requests"}} AS r
        LEFT JOIN runs_by_name AS n ON n.provider = r.provider AND n.run = if(r.run != '', r.run, r.claimed_run)
        LEFT JOIN runs_by_principal AS p ON p.provider = r.provider AND p.principal = r.subject
    ),
    attributed AS
    (
        SELECT
            *,
            grade IN ('proven', 'corroborated') AS by_name,
            multiIf(claim != '', toString(claim), confirmed, toString(claimed_run), grade = 'inferred', candidates[1].3, '') AS run,
            multiIf(claim_project != '', toString(claim_project), by_name, toString(known_project), grade = 'inferred', toString(candidates[1].4), '') AS project,
            multiIf(claim_job != '', toString(claim_job), by_name, toString(known_job), grade = 'inferred', toString(candidates[1].5), '') AS job,
            multiIf(claim_commit != '', toString(claim_commit), by_name, known_commit, grade = 'inferred', candidates[1].6, '') AS commit
        FROM graded
    )
SELECT
    t.time AS time, t.identity AS identity, t.provider AS provider, t.project AS project, t.job AS job,
    t.run AS run, t.run_attempt AS run_attempt, t.commit AS commit, t.ref AS ref,
    c.author AS author, c.subject AS commit_subject, t.actor AS actor, t.runner AS runner,
    t.method AS method, t.host AS host, t.path AS path, t.endpoint AS endpoint, t.status AS status,
    t.decision AS decision, t.reason AS reason, t.role AS role, t.grade AS grade,
    t.client_ip AS client_ip, t.frontend AS frontend, t.backend AS backend, t.server AS server,
    t.bytes_read AS bytes_read, t.active_ms AS active_ms, t.termination_state AS termination_state,
    t.token_id AS token_id, t.claimed_run AS claimed_run, t.unique_id AS unique_id,
    t.source AS source, t.proxy AS proxy, t.pid AS pid, t.request_counter AS request_counter,
    t.marks AS marks, t.block AS block
FROM attributed AS t
LEFT JOIN authors AS c ON c.commit = t.commit
