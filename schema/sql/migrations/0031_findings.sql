-- The findings, one row each: what a person should look at, how bad it is, and what to do about it. Column by column:
-- FindingRow in schema/findings.go.
CREATE VIEW IF NOT EXISTS {{table "findings"}} {{on_cluster}} AS
SELECT
    s.key AS key, any(s.kind) AS kind, tupleElement(max(s.latest), 'severity') AS severity,
    tupleElement(max(s.latest), 'title') AS title, tupleElement(max(s.latest), 'text') AS text,
    tupleElement(max(s.latest), 'action') AS action, tupleElement(max(s.latest), 'provider') AS provider,
    tupleElement(max(s.latest), 'issuer') AS issuer, tupleElement(max(s.latest), 'identity') AS identity,
    tupleElement(max(s.latest), 'project') AS project, tupleElement(max(s.latest), 'run') AS run,
    tupleElement(max(s.latest), 'commit') AS commit, tupleElement(max(s.latest), 'token_id') AS token_id,
    tupleElement(max(s.latest), 'backend') AS backend, min(s.first) AS first, max(s.last) AS last,
    max(s.requests) AS requests, tupleElement(max(s.latest), 'evidence') AS evidence,
    min(s.found) AS found, max(s.updated) AS updated
FROM {{table "finding_states"}} AS s
GROUP BY s.key
