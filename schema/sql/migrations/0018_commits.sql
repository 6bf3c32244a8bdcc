-- Commits, each once in a repository. A time that is not known is when 1970 began; checked_at, when the signature was said.
CREATE VIEW IF NOT EXISTS {{table "commits"}} {{on_cluster}} AS
SELECT
    m.commit AS commit, m.repository AS repository, max(m.author) AS author, max(m.author_email) AS author_email,
    max(m.committer) AS committer, ifNull(min(m.authored_at), toDateTime64(0, 3, 'UTC')) AS authored_at,
    max(m.committed_at) AS committed_at, max(m.subject) AS subject, max(m.signature).value AS signature,
    if(max(m.signature).said <= toDateTime64(0.001, 3, 'UTC'), toDateTime64(0, 3, 'UTC'), max(m.signature).said) AS checked_at,
    max(m.said) AS said
FROM {{table "ci_commits"}} AS m
GROUP BY m.commit, m.repository
