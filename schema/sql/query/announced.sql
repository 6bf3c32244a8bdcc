-- What was announced and has not ended, by its start.
SELECT {{columns}}
FROM {{.}} FINAL
WHERE ends > fromUnixTimestamp64Milli({after:Int64})
ORDER BY starts, id
