-- The rows of a view whose key is one of some.
SELECT {{columns}}
FROM {{.View}}
WHERE {{.Key}} IN {keys:Array(String)}
