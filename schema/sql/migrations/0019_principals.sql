-- The accounts that tokens speak for, each once.
CREATE VIEW IF NOT EXISTS {{table "principals"}} {{on_cluster}} AS
SELECT
    p.provider AS provider, p.subject AS subject, max(p.name).value AS name, max(p.owner).value AS owner,
    max(p.owner).said > toDateTime64(0, 3, 'UTC') AS owner_told,
    max(p.project) AS project, max(p.archived).value AS archived, max(p.rights).value AS rights,
    ifNull(min(p.created_at), toDateTime64(0, 3, 'UTC')) AS created_at,
    max(p.last_used_at) AS last_used_at, max(p.said) AS said
FROM {{table "ci_principals"}} AS p
GROUP BY p.provider, p.subject
