// Package syslog receives HAProxy's logs: it listens, cuts what comes into
// messages, reads their headers and hands them to a Handler.
//
//	udp, unixgram          tcp, tls, unix
//	one reader per socket  one goroutine per connection
//	      |                       |
//	      | datagram              | framer: octet count
//	      |                       | (RFC 6587) or lines
//	      +-----------+-----------+
//	                  |
//	            ParseHeader: RFC 5424, RFC 3164, HAProxy's own
//	                  |
//	        Handler.Handle (batch), Handler.Reject (counted, by reason)
//
// What is not handed over is counted. A connection whose handler blocks is not
// read, so its sender waits and loses nothing; a datagram socket is read
// whatever the handler does, and what the kernel had to drop is published.
package syslog
