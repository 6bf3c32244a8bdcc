-- What the detectors found, as often as they found it: rows of one key are one finding. Of a finding found again and
-- again, in any order, the earliest first, the latest last and the greatest count remain, and the words, severity and
-- evidence of its latest request (of the one told last, where that is the same). The view findings shows it.
CREATE TABLE IF NOT EXISTS {{table "finding_states"}} {{on_cluster}}
(
    key      String,
    kind     SimpleAggregateFunction(any, LowCardinality(String)),
    first    SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    last     SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    requests SimpleAggregateFunction(max, UInt64),
    found    SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    updated  SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    latest   SimpleAggregateFunction(max, Tuple(
        last DateTime64(6, 'UTC'), updated DateTime64(3, 'UTC'),
        severity Enum8('low' = 2, 'medium' = 3, 'high' = 4, 'critical' = 5), title String, text String, action String,
        provider String, issuer String, identity String, project String, run String, commit String, token_id String,
        backend String, evidence String))
)
ENGINE = {{engine "AggregatingMergeTree"}}
ORDER BY key
