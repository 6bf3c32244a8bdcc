-- Who touched what, from which run and commit, how sure that is, and why:
--   proven        a signed claim names the run
--   corroborated  an unsigned header names it, and the CI's own record confirms who and when
--   inferred      exactly one known run of the principal was going on at the time
--   ambiguous     several were
--   none          nothing ties the request to a run
-- The judgement is package attribute's, stored in attributions; of a request that is not judged yet only its
-- claims are shown. "haptrail trail" runs this same text, with less of each table where {{"{{narrow}}"}} stands.
CREATE VIEW IF NOT EXISTS {{table "trail"}} {{on_cluster}} AS
WITH
    uses AS
    (
        SELECT
            u.hour, u.subject, u.caller, u.froms, u.grades, u.projects, u.jobs, u.runs, u.attempts, u.refs, u.commits,
            u.actors, u.agents, u.approvers, u.candidates, u.whys, u.contradictions, u.revision, u.was,
            u.was_until, u.attributed_at
        FROM {{table "attributions"}} AS u FINAL
        {{narrow "uses"}}
    ),
    judged AS
    (
        SELECT
            r.*, u.revision AS revision, u.was AS was, u.was_until AS was_until, u.attributed_at AS attributed_at,
            greatest(1, arrayLastIndex(f -> f <= r.time, u.froms)) AS span,
            if(revision > 0, u.grades[span], if(r.subject != '' AND r.run != '', 'proven', 'none')) AS grade,
            if(revision > 0, u.projects[span], r.project) AS of_project,
            if(revision > 0, u.jobs[span], r.job) AS of_job,
            if(revision > 0, u.runs[span], r.run) AS of_run,
            if(revision > 0, u.attempts[span], toUInt32OrZero(r.run_attempt)) AS of_attempt,
            if(revision > 0, u.refs[span], r.ref) AS of_ref,
            if(revision > 0, u.commits[span], lower(r.commit)) AS of_commit,
            if(revision > 0, u.actors[span], r.actor) AS of_actor,
            if(revision > 0, u.agents[span], r.runner) AS of_runner,
            u.approvers[span] AS approver, u.candidates[span] AS candidates, u.contradictions[span] AS contradiction,
            multiIf(revision > 0, u.whys[span], r.subject = '', 'no verified identity', 'not judged yet') AS why
        FROM {{narrow "requests"}} AS r
        LEFT JOIN uses AS u ON u.hour = toStartOfHour(r.time) AND u.subject = r.subject AND u.caller = r.caller
    ),
    authors AS
    (
        SELECT m.commit AS commit, max(m.author) AS author, max(m.subject) AS subject, max(m.signature) AS signature
        FROM {{table "commits"}} AS m
        {{narrow "commits"}}
        GROUP BY m.commit
    )
SELECT
    t.time AS time, t.subject AS identity, t.provider AS provider, t.of_project AS project, t.of_job AS job,
    t.of_run AS run, t.of_attempt AS run_attempt, t.of_commit AS commit, t.of_ref AS ref,
    c.author AS author, c.subject AS commit_subject, c.signature AS commit_signature, t.of_actor AS actor,
    t.of_runner AS runner, t.approver AS approver,
    t.method AS method, t.host AS host, t.path AS path, t.endpoint AS endpoint, t.status AS status,
    t.decision AS decision, t.reason AS reason, t.role AS role, t.grade AS grade, t.why AS why,
    t.contradiction AS contradiction, t.candidates AS candidates,
    t.revision AS revision, t.was AS was, t.was_until AS was_until, t.attributed_at AS attributed_at,
    t.client_ip AS client_ip, t.frontend AS frontend, t.backend AS backend, t.server AS server,
    t.bytes_read AS bytes_read, t.active_ms AS active_ms, t.termination_state AS termination_state,
    t.token_id AS token_id, t.claimed_run AS claimed_run, t.unique_id AS unique_id,
    t.source AS source, t.proxy AS proxy, t.pid AS pid, t.request_counter AS request_counter,
    t.marks AS marks, t.block AS block
FROM judged AS t
LEFT JOIN authors AS c ON c.commit = t.of_commit
