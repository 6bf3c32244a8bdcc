package embedded

import (
	"fmt"
	"os"
	"strings"
)

// What keeps a read-only user inside the tables. Each layer was seen to stop
// what the others let through (gate_test.go):
//
//  1. The engine's parser classifies the statement: exactly one, and one that
//     leaves no trace. Stops INTO OUTFILE, KILL, USE, SET, several statements.
//  2. The statement is run in the form in which the engine's formatter prints
//     it, and the names in that form are checked: no comment, quote or escape
//     hides one. Stops the scalar function file(), which asks for no right, also
//     as * APPLY(file) and arrayMap(file, …), and table functions that take a
//     structure as text, in which ALIAS file(…) hides.
//     The same check keeps to the harmless tables of the system database
//     (catalog.go) and refuses SHOW PROCESSLIST.
//  3. SET ROLE haptrail_reader: SELECT and SHOW, no sources. Stops file(),
//     url(), s3() and the like as table functions, also in DESCRIBE, and
//     `/etc/passwd` as a table of the default database.
//  4. SET readonly = 1. Stops writes, temporary tables, further table functions
//     and every SETTINGS clause, with which Template and Protobuf formats would
//     print or parse files.
//  5. Settings in the URL come from a list (readerSettings).
//
// A user with all rights goes through the same layers with a request whose URL
// has the setting readonly other than 0 (parseRequest).
const (
	ownerRole  = "haptrail_owner"
	readerRole = "haptrail_reader"
)

// engineConfig is the configuration that the engine starts with, in place of
// any config.xml that it would find in the working or home directory. The one
// user has the rights of both roles; a read-only session keeps the reader's. The
// engine's own log is off: on a terminal it would come between the lines of the
// command. Errors of statements are returned, not logged.
const engineConfig = `<clickhouse>
  <logger><level>none</level><console>0</console></logger>
  <users_config>%[1]s</users_config>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <roles>
    <%[2]s><grants><query>GRANT ALL ON *.* WITH GRANT OPTION</query></grants></%[2]s>
    <%[3]s><grants><query>GRANT SELECT, SHOW, dictGet ON *.*</query></grants></%[3]s>
  </roles>
  <users>
    <default>
      <password></password>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants><query>GRANT %[2]s, %[3]s</query></grants>
    </default>
  </users>
</clickhouse>
`

// writeConfig puts the configuration into a file, which the engine reads only
// while it starts.
func writeConfig(dir string) (path string, err error) {
	f, err := os.CreateTemp(dir, "engine-*.xml")
	if err != nil {
		return "", err
	}
	defer f.Close()
	escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(f.Name())
	if _, err := fmt.Fprintf(f, engineConfig, escaped, ownerRole, readerRole); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// deniedNames may not occur at all in a read-only user's statement, in any
// spelling: they reach files, the server's configuration or other threads
// without asking for a right.
var deniedNames = map[string]bool{
	"file": true, "catboostevaluate": true, "stack_trace": true, "executable": true,
	"getserversetting": true, "getmacro": true, "showcertificate": true,
}

// deniedShows are statements SHOW … and DESCRIBE … by their second word.
var deniedShows = map[string]bool{"processlist": true, "filesystem": true}

// safeTableFunctions are those of the table functions allowed under readonly = 1
// that compute or read tables and take no structure as text.
var safeTableFunctions = map[string]bool{
	"numbers": true, "numbers_mt": true, "generateseries": true, "generate_series": true,
	"primes": true, "view": true,
}

// readerSettings are the settings that a read-only user may give in the URL:
// limits and ways of output that name no file and lift no protection.
var readerSettings = map[string]bool{
	"max_execution_time": true, "timeout_overflow_mode": true, "max_threads": true,
	"max_block_size": true, "max_result_rows": true, "max_result_bytes": true,
	"result_overflow_mode": true, "max_rows_to_read": true, "max_bytes_to_read": true,
	"read_overflow_mode": true, "max_rows_to_group_by": true, "group_by_overflow_mode": true,
	"extremes": true, "join_use_nulls": true, "session_timezone": true, "limit": true, "offset": true,
	"date_time_output_format": true, "output_format_json_quote_64bit_integers": true,
	"output_format_json_quote_denormals": true, "output_format_json_named_tuples_as_objects": true,
	"output_format_native_write_json_as_string": true, "output_format_pretty_max_rows": true,
	"network_compression_method": true, "network_zstd_compression_level": true, "use_query_cache": true,
}

// gate checks statements of read-only users.
type gate struct {
	deniedTableFunctions map[string]bool // in lower case
}

func newGate(s *session) (gate, error) {
	names, err := s.scalar("SELECT arrayStringConcat(groupArray(lower(name)), ' ') FROM system.table_functions WHERE allow_readonly")
	if err != nil {
		return gate{}, err
	}
	g := gate{deniedTableFunctions: make(map[string]bool)}
	for name := range strings.FieldsSeq(names) {
		if !safeTableFunctions[name] {
			g.deniedTableFunctions[name] = true
		}
	}
	return g, nil
}

// vet gives the form of sql in which the read-only request q's session runs it,
// or refuses it.
func (g gate) vet(s *session, q *request, sql string) (string, error) {
	if q.database == systemDatabase {
		// Its tables would need no qualified name.
		return "", denied("database " + systemDatabase)
	}
	canonical, err := canonicalForm(s, sql)
	if err != nil {
		return "", err
	}
	var catalog catalogCheck
	tokens := lexer{sql: canonical}
	statement := firstWord(canonical)
	for t := tokens.next(); t.kind != tokenEnd; t = tokens.next() {
		if t.kind == tokenCut {
			return "", refuse(codeSyntax, "SYNTAX_ERROR", "read-only users cannot run this statement: its text cannot be taken apart")
		}
		if err := catalog.note(t, tokens); err != nil {
			return "", err
		}
		if !t.identifier() {
			continue
		}
		if g.denies(statement, t, tokens) {
			return "", denied(t.text)
		}
		if strings.EqualFold(t.text, "Identifier") {
			if err := vetIdentifiers(q.params, &catalog); err != nil {
				return "", err
			}
		}
	}
	return canonical, catalog.verdict()
}

// denies tells whether the name t, which rest follows, may not occur in a
// statement that begins with the given word.
func (g gate) denies(statement string, t token, rest lexer) bool {
	name := strings.ToLower(t.text)
	switch statement {
	case "SELECT", "WITH", "EXPLAIN":
	case "SHOW", "DESCRIBE":
		second := lexer{sql: rest.sql, pos: len(statement)}
		if deniedShows[name] && second.next().start == t.start {
			return true
		}
		fallthrough
	default:
		// EXISTS and SHOW ask the default database about files without a right.
		if strings.Contains(name, "/") {
			return true
		}
	}
	return deniedNames[name] || g.deniedTableFunctions[name] && rest.next().punct('(')
}

// vetIdentifiers checks the values that {x:Identifier} can put into a statement.
func vetIdentifiers(params []param, catalog *catalogCheck) error {
	for _, p := range params {
		if deniedNames[strings.ToLower(strings.Trim(p.value, "`\""))] || strings.ContainsAny(p.value, `/\`) {
			return denied(p.value)
		}
		if err := catalog.noteParam(p.value); err != nil {
			return err
		}
	}
	return nil
}

func denied(name string) error {
	return refuse(codeAccessDenied, "ACCESS_DENIED", "read-only users may not use %q", name)
}

// canonicalForm is sql as the engine's formatter prints it.
func canonicalForm(s *session, sql string) (string, error) {
	return s.scalar("SELECT formatQuery({q:String})", param{"q", escapeParam(sql)})
}
