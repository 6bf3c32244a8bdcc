// Package schema holds haptrail's tables, the statements over them, their
// typed rows, and the way to the engine that they live in.
//
//	Open(dsn) -> Store --clickhouse-go--> clickhouse://, http(s)://   a server or cluster
//	                \----clickhouse-go--> unix:SOCKET                 a running daemon's engine
//	                 \---clickhouse-go--> embedded:DIR                the engine in this process
//
// The tables are made by the numbered statements in sql/, which are rendered
// for one server or for a cluster from the same text.
package schema
