-- Who touched what, from which run and commit, and how sure that is:
--   proven        a signed claim names the run
--   corroborated  an unsigned header names the run, and the CI's own record of it
--                 confirms project, principal and time (five minutes of slack)
--   inferred      exactly one known run of the principal was going on at the time
--   ambiguous     several were
--   none          nothing ties the request to a run
CREATE VIEW IF NOT EXISTS {{table "trail"}} {{on_cluster}} AS
WITH
    known_runs AS
    (
        SELECT
            s.provider AS provider, s.run AS run,
            any(s.project) AS project, argMax(s.job, s.run_attempt) AS job, argMax(s.commit, s.run_attempt) AS commit,
            argMax(s.principal, s.run_attempt) AS principal,
            min(s.started_at) - INTERVAL 5 MINUTE AS active_from,
            if(min(s.finished_at) = toDateTime64(0, 3, 'UTC'), toDateTime64('2299-01-01 00:00:00', 3, 'UTC'), max(s.finished_at)) + INTERVAL 5 MINUTE AS active_to
        FROM {{table "runs"}} AS s FINAL
        GROUP BY s.provider, s.run
        HAVING uniqExact(s.project) = 1
    ),
    -- A log that does not say the provider can still name a run whose id only one provider has.
    runs_by_name AS
    (
        SELECT * FROM known_runs
        UNION ALL
        SELECT
            '' AS provider, k.run, any(k.project), any(k.job), any(k.commit), any(k.principal), any(k.active_from), any(k.active_to)
        FROM known_runs AS k
        GROUP BY k.run
        HAVING count() = 1
    ),
    runs_by_principal AS
    (
        SELECT principal, groupArray((active_from, active_to, run, project, job, commit)) AS windows
        FROM known_runs
        WHERE principal != ''
        GROUP BY principal
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
            claim = '' AND claimed_run != '' AND n.run != ''
                AND r.time BETWEEN n.active_from AND n.active_to
                AND (claim_project = '' OR claim_project = n.project)
                AND (n.principal = '' OR r.subject = '' OR r.subject = n.principal) AS confirmed,
            if(claim = '' AND NOT confirmed AND r.subject != '', arrayFilter(w -> r.time BETWEEN w.1 AND w.2, p.windows), []) AS candidates,
            multiIf(
                claim != '', 'proven',
                confirmed, 'corroborated',
                length(candidates) = 1, 'inferred',
                length(candidates) > 1, 'ambiguous',
                'none') AS grade
        FROM {{table "requests"}} AS r
        LEFT JOIN runs_by_name AS n ON n.provider = r.provider AND n.run = if(r.run != '', r.run, r.claimed_run)
        LEFT JOIN runs_by_principal AS p ON p.principal = r.subject
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
