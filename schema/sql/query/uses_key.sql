SELECT k.hour, k.subject, k.caller
FROM uses AS k
WHERE k.hour >= toStartOfHour(toDateTime({from:UInt32}, 'UTC')) AND k.hour < toDateTime({until:UInt32}, 'UTC')
{{- if .Stored}} AND k.stored >= {stored:DateTime64(3, 'UTC')}{{end}}
{{- if .Named}} AND (k.run IN {runs:Array(String)} OR k.claimed_run IN {runs:Array(String)}
    OR k.subject IN {principals:Array(String)} AND k.hour >= toStartOfHour(toDateTime({principals_from:UInt32}, 'UTC'))
        AND k.hour < toDateTime({principals_until:UInt32}, 'UTC')
    OR (k.hour, k.subject, k.caller) IN
    (
        SELECT t.hour, t.subject, t.caller
        FROM attributions AS t
        WHERE t.hour >= toStartOfHour(toDateTime({from:UInt32}, 'UTC')) AND t.hour < toDateTime({until:UInt32}, 'UTC')
            AND (arrayExists(of_run -> of_run IN {runs:Array(String)}, t.runs)
                OR t.subject IN {principals:Array(String)} AND has(t.grades, 'ambiguous'))
    )){{end}}
{{- if .Unjudged}} AND (k.hour, k.subject, k.caller) NOT IN
(
    SELECT hour, subject, caller FROM attributions
    WHERE hour >= toStartOfHour(toDateTime({from:UInt32}, 'UTC')) AND hour < toDateTime({until:UInt32}, 'UTC')
){{end}}
