-- Fills uses with each block of requests. stored is the engine's clock: by it, what is new is found.
CREATE MATERIALIZED VIEW IF NOT EXISTS {{table "uses_of_requests"}} {{on_cluster}} TO {{table "uses"}} AS
SELECT
    toStartOfHour(r.time) AS hour, any(r.subject) AS subject, r.caller AS caller,
    any(r.provider) AS provider, any(r.issuer) AS issuer, any(r.token_id) AS token_id, any(r.project) AS project,
    any(r.job) AS job, any(r.run) AS run, any(r.run_attempt) AS run_attempt, any(r.ref) AS ref, any(r.commit) AS commit,
    any(r.actor) AS actor, any(r.runner) AS runner, any(r.claimed_run) AS claimed_run,
    groupUniqArray(64)({{network "r.client_ip"}}) AS networks,
    min(r.time) AS first, max(r.time) AS last, count() AS requests, max(now64(3, 'UTC')) AS stored
FROM {{sharded "requests"}} AS r
WHERE r.caller != 0
GROUP BY hour, r.caller
