-- CI runs, each attempt once. A time that is not known is when 1970 began; a status, the empty text.
CREATE VIEW IF NOT EXISTS {{table "runs"}} {{on_cluster}} AS
SELECT
    r.provider AS provider, r.project AS project, max(r.job) AS job, r.run AS run, r.run_attempt AS run_attempt,
    max(r.name) AS name, max(r.ref) AS ref, max(r.commit) AS commit, toString(max(r.status)) AS status,
    max(r.trigger) AS trigger, max(r.actor) AS actor, max(r.agent) AS agent, max(r.principal) AS principal,
    max(r.approver) AS approver,
    ifNull(min(r.queued_at), toDateTime64(0, 3, 'UTC')) AS queued_at,
    ifNull(min(r.started_at), toDateTime64(0, 3, 'UTC')) AS started_at,
    max(r.finished_at) AS finished_at, max(r.said) AS said
FROM {{table "ci_runs"}} AS r
GROUP BY r.provider, r.project, r.run, r.run_attempt
