// Package runtimeapi speaks HAProxy's Runtime API: the commands of a stats
// socket (Client) and of the master's socket (Master), HAProxy 2.6 and later
// (management guide, sections 9.3 and 9.4).
//
// One command travels over one connection, in HAProxy's non-interactive mode:
// a line, for some commands followed by a payload; then the reply, a blank line
// and the end of the stream. HAProxy has no status code and no length, so the
// blank line is all that tells a whole reply from one that was cut by a
// deadline, a reload or "stats timeout". This package returns a reply only when
// that line is there. Everything else is an error that tells apart
//
//   - ErrUnreachable: no connection, the command was certainly not run;
//   - ErrPartial: sent, but no complete reply; the command may have been run;
//   - any other kind: HAProxy's complete answer, and it was a refusal.
//
// # What a command needs
//
//	method                                   level of the socket   HAProxy
//	Info, Version                            user                  2.6
//	Tables, FindTable, Stores, SharedTables  user                  2.6
//	Level, Stats, ServersState               user                  2.6
//	Table, Dump, Lookup, CapturedErrors      operator              2.6
//	SetEntryData, ClearTable                 operator              2.6
//	Maps, Map                                user; 3.4: admin      2.6
//	AddEntry, SetEntry, DelEntry             user; 3.4: admin      2.6
//	ReplaceMap, ReplaceMaps                  user; 3.4: admin      2.6
//	JWTCerts, PutJWTCert, DelJWTCert         admin                 3.3
//	Master.Procs, Master.Reload              the master's -S       2.6
//
// Before 3.4 (commit 94d2f69b9) every socket may change every map, whatever its
// level: only the mode and the owner of the socket file protect the maps. Give
// haptrail a socket of its own, and say admin, which is right for all versions:
//
//	stats socket /run/haproxy/haptrail.sock mode 600 level admin
//
// A change made here lives in the running worker only. The next reload reads
// the files again: write the file first, then push the same content.
//
// # A reload that fails no request
//
// Master.Reload starts new workers and lets the old ones finish. That no request
// is lost on the way needs, in HAProxy's configuration:
//
//   - master-worker mode (-W or -Ws, with -S for the master's socket): the new
//     workers take over the listening sockets of the old ones;
//   - "option idle-close-on-response" in the defaults or frontends: an idle
//     keep-alive connection is closed after its next response, never while a
//     request is on its way to it;
//   - "hard-stop-after" absent, or longer than the longest request and than
//     "timeout http-keep-alive" (or "timeout http-request" where that is unset).
package runtimeapi
