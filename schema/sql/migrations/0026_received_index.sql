-- Requests are looked at as they come, whatever time they say: only the newest granules hold those.
ALTER TABLE {{sharded "requests"}} {{on_cluster}} ADD INDEX IF NOT EXISTS received received TYPE minmax GRANULARITY 1
