// Package embedded runs ClickHouse's engine inside the process, from libchdb,
// and speaks the part of ClickHouse's HTTP interface that clickhouse-go, curl
// and Grafana's ClickHouse data source use.
//
//	clickhouse-go --- RoundTripper --+   (in the process, no socket, full rights)
//	                                 |
//	curl, Grafana -- unix / loopback +-> handler: who, what, which format
//	                  (Listen)       |      |
//	                                 |      |  one request = one session
//	                                 |      v
//	                                 |   slots (Options.Connections)
//	                                 |      |
//	                                 |      v
//	                                 |   libchdb connection, made for the request
//	                                 |     SELECT   stream of blocks -> response
//	                                 |     INSERT   body, 1 MiB at a time -> stream
//	                                 |     other    result as a whole
//	                                 |
//	                                 +-> control connection: KILL QUERY ... ASYNC
//	                                     when the client goes away
//
// A connection to libchdb is a session (settings, current database, roles,
// temporary tables) and costs 0.2 ms, so each request gets its own and nothing
// can leak from one query into the next. libchdb allows one directory per
// process and locks it against other processes.
//
// Beyond SQL errors, which arrive as *clickhouse.Exception, see the Err
// variables for what Open and Listen report.
package embedded
