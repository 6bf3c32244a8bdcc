fromUnixTimestamp64Micro(transform(toString(a.subject), {subjects:Array(String)}, {cutoffs:Array(Int64)}, toInt64(0)))
