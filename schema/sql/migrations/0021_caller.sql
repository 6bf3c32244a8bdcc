-- Who made a request: the same number for the same signed claims and the same claimed run, 0 for nobody who
-- is verified. Half of SHA-256, as identities are what somebody may want to forge. RequestBlock computes the same.
ALTER TABLE {{sharded "requests"}} {{on_cluster}}
ADD COLUMN IF NOT EXISTS caller UInt64 DEFAULT if(subject = '', 0, reinterpretAsUInt64(substring(SHA256(concatWithSeparator('\0',
    provider, issuer, subject, token_id, project, job, run, run_attempt, ref, commit, actor, runner, claimed_run)), 1, 8))) CODEC(ZSTD(1))
