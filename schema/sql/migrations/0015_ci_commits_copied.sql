-- The commits of the old table, whose signatures were said at no time.
INSERT INTO {{table "ci_commits"}}
(commit, repository, author, author_email, committer, committed_at, subject, signature)
SELECT
    lower(m.commit), m.repository, m.author, m.author_email, m.committer, m.committed_at, m.subject,
    (toDateTime64(if(m.signature = '', 0, 0.001), 3, 'UTC'), toString(m.signature))
FROM {{table "commits"}} AS m FINAL
