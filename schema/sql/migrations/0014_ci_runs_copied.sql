-- The runs of the old table, with the words for their states that people wrote there. A second time it changes nothing.
INSERT INTO {{table "ci_runs"}}
(provider, project, run, run_attempt, job, ref, commit, status, trigger, actor, agent, principal, queued_at, started_at, finished_at)
SELECT
    r.provider, r.project, r.run, r.run_attempt, r.job, r.ref, lower(r.commit),
    transform(lower(toString(r.status)),
        ['queued', 'pending', 'running', 'in_progress', 'skipped', 'canceled', 'cancelled', 'failed', 'failure', 'succeeded', 'success'],
        ['queued', 'queued', 'running', 'running', 'skipped', 'canceled', 'canceled', 'failed', 'failed', 'succeeded', 'succeeded'], ''),
    r.trigger, r.actor, r.agent, r.principal,
    nullIf(r.queued_at, toDateTime64(0, 3, 'UTC')), nullIf(r.started_at, toDateTime64(0, 3, 'UTC')), r.finished_at
FROM {{table "runs"}} AS r FINAL
