// Package peers listens to HAProxy as one of its peers, so that each stick-table entry
// that a request touches arrives at once (0.2 ms in the middle, see bench_test.go), and
// no table is ever dumped. Its samples are those of runtimeapi/poll.
//
//	feed                                            HAProxy
//	HAProxyS 2.1, its name, our name  ------------>            the greeting
//	                                  <------------ 200        or why not
//	teach me (0,0)                    ------------>
//	                                  <------------ table (10,130), its entries (10,133)
//	                                  <------------ that was all (0,1), or all I have (0,2)
//	heard (0,3)                       ------------>            else nothing ever comes
//	                                  <------------ table (10,130), what is touched (10,128)
//	so far read (10,132)              ------------>            ten times a second at most
//	alive (0,4), each 3 s             <----------->            silence of 5 s is the end
//	nothing here (0,2)                ------------>            when HAProxy asks us (0,0)
//
// Nothing else is ever sent: a feed has no table and writes no entry. The protocol is in
// HAProxy's doc/peers-v2.0.txt; what that page leaves out (the timed updates, the
// parameters of data types, the heartbeat) is in its src/peers.c.
//
// # Configuration
//
// HAProxy needs its own line, one for the feed, and the section's name in each table:
//
//	global
//	    localpeer edge1
//	peers haptrail
//	    peer edge1    127.0.0.1:10000
//	    peer haptrail 127.0.0.1:1
//	backend st_ident
//	    stick-table type string len 256 size 100k expire 10m peers haptrail store http_req_cnt,http_req_rate(10s)
//
// With Proxy{Address: "127.0.0.1:10000", Remote: "edge1", Local: "haptrail"}. The
// address may be a unix socket: "peer edge1 unix@/run/haproxy/peers.sock" is
// "unix:/run/haproxy/peers.sock" here. HAProxy connects to its peers, too, but nobody
// has to listen: 127.0.0.1:1 is a port where nobody does. While no feed is connected it
// tries that every 5 s, writes no log line, and uses no CPU that could be measured in
// 30 s (2.6 and 3.4); while one is connected it does not try. Without a "peer" line of
// its own with an address HAProxy does not hand its tables over at a reload.
//
// The protocol has no authentication, and a peer may write entries: keep HAProxy's line
// on loopback, on a unix socket whose folder protects it, or in a tunnel.
//
// # What a sample says
//
// The first lesson is what was there before: it has no deltas. Afterwards a delta has
// happened just now: Elapsed is the time since the key's former update, and at most a
// second. What happened while the connection was broken, and during a reload until
// HAProxy has taught its new worker, is told at the next look, with the time since then
// as Elapsed. A HAProxy that has just begun is still learning itself and says so; until
// a whole lesson, at most 10 s, a new key's counters have a delta only as far as their
// rates prove that the counts are new.
//
// HAProxy does not say that an entry went. That one expired and was made anew is seen
// where a counter went back, where its rate holds all that it has counted since, and
// where the table stores conn_cur and nobody held the entry. Where nothing of that is
// known, a key that comes back after its time and has counted as much as before is taken
// for the old one: store a counter's rate beside it.
//
// HAProxy does not say either which other peers it has, nor does it pass on what they
// send; their counts are seen when a request here touches the same key. So that they
// are not taken for traffic here, name such tables in Proxy.Shared. That a new key has
// more than its rates explain is seen without that, and then it has no delta.
//
// # Limits
//
//   - conn_cur is sent, as it was when the entry was touched last; other HAProxies do
//     not take it over (issue haproxy#2079).
//   - Of a table with "brates-factor" the rates of bytes arrive divided by it; "show
//     table" multiplies them again.
//   - A table inside of a peers section is announced as /table, without the section.
//   - Entries that another peer taught and that nothing touched here come with lessons
//     only. By its source HAProxy 3.0.0 does not even send the touch of one that no lesson
//     has shown.
//   - HAProxy ends a connection into which it could not write for 5 s.
//   - After a lesson HAProxy sends once more what it has counted itself.
//   - A data type that is not in HAProxy 3.4 makes its table unreadable, and only that
//     one; see Status.
//
// Tried with 2.6.12, 2.8.0, 3.0.0, 3.2.0, 3.3.0 and 3.4.0.
package peers
