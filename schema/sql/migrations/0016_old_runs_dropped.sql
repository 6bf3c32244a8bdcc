-- The old tables, which were copied, and the view that was made of them.
DROP TABLE IF EXISTS {{table "trail"}}, {{table "runs"}}, {{table "commits"}} {{on_cluster}}
