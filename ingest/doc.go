// Package ingest takes in everything that comes to haptrail: log lines over
// syslog and from files, and (its sub-packages) what they are made of.
//
//	syslog/ listeners          import: files, stdin
//	      | messages                 | chunks of lines
//	      v                          v
//	+-lane-----------------------------------------+
//	| logformat/ parse -> judge time -> row        |  one block a lane; a lane per core
//	+----------------------------------------------+
//	      | sealed block (rows, bytes or age)
//	      v
//	   queue (bounded: here TCP senders wait, datagrams are dropped and counted)
//	      v
//	   Sink: schema.Store, retried under the block's id until it is stored
//
// A line is in exactly one place afterwards: requests, proxy_events, or rejects
// by reason. Of rejects only so many a block are kept, and all are counted; what
// is dropped on a full queue is counted by transport.
package ingest
