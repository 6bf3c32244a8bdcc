-- The long-lived secrets that principals have: of a kind that is told whole, those of the newest telling.
CREATE VIEW IF NOT EXISTS {{table "credentials"}} {{on_cluster}} AS
SELECT
    c.provider AS provider, c.subject AS subject, c.id AS id, c.kind AS kind, c.created AS created_at,
    c.expires AS expires_at, c.last_used AS last_used_at, c.last_said AS said
FROM
(
    SELECT
        k.provider AS provider, k.subject AS subject, k.kind AS kind, k.id AS id, max(k.created_at) AS created,
        max(k.expires_at) AS expires, max(k.last_used_at) AS last_used, max(k.said) AS last_said
    FROM {{table "ci_credentials"}} AS k
    GROUP BY k.provider, k.subject, k.kind, k.id
) AS c
LEFT JOIN
(
    SELECT p.provider AS provider, p.subject AS subject, maxMap(p.listed) AS kinds
    FROM {{table "ci_principals"}} AS p
    GROUP BY p.provider, p.subject
) AS l ON l.provider = c.provider AND l.subject = c.subject
WHERE c.last_said >= l.kinds[c.kind]
