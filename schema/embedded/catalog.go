package embedded

import "strings"

// systemDatabase holds the engine's tables about itself: the running statements
// of everyone with their literals (processes, query_cache, mutations), the
// server's paths (disks, server_settings), and tables whose reading does
// something (models starts a process). libchdb grants SELECT on all of them to
// everyone and does not read access_control_improvements, so that no revoked
// grant closes them: the gate does, by their names.
const systemDatabase = "system"

// readerTables are the system tables for read-only users: those that describe
// the tables and the language, which editors such as Grafana's ask for.
var readerTables = map[string]bool{
	"databases": true, "tables": true, "columns": true, "parts": true, "parts_columns": true,
	"data_skipping_indices": true, "projections": true,
	"functions": true, "aggregate_function_combinators": true, "table_functions": true, "table_engines": true,
	"database_engines": true, "data_type_families": true, "formats": true, "codecs": true, "collations": true,
	"keywords": true, "completions": true, "documentation": true, "time_zones": true,
	"settings": true, "merge_tree_settings": true, "current_roles": true, "enabled_roles": true,
	"build_options": true, "contributors": true, "licenses": true,
	"one": true, "numbers": true, "numbers_mt": true, "zeros": true, "zeros_mt": true, "primes": true,
}

// pathTables are those of them that tell the server's paths, in pathColumns.
var (
	pathTables  = map[string]bool{"databases": true, "tables": true, "parts": true, "parts_columns": true}
	pathColumns = map[string]bool{"data_path": true, "data_paths": true, "metadata_path": true, "path": true}
)

// catalogCheck follows a canonical statement token by token and notes what it
// asks of the system database.
type catalogCheck struct {
	pathTable string // one of pathTables, "" if there is none
	column    string // one of pathColumns, or what may stand for one: *, COLUMNS(…)
	counted   bool   // the last tokens were count(
	word      string // the last token's, in lower case
}

// note takes the token t, which rest follows.
func (c *catalogCheck) note(t token, rest lexer) error {
	name := strings.ToLower(t.text)
	next := rest.next()
	switch {
	case t.identifier() && t.text == systemDatabase && next.punct('.'):
		table := rest.next()
		if !table.identifier() || !readerTables[table.text] {
			return denied(systemDatabase + "." + table.text)
		}
		if pathTables[table.text] {
			c.pathTable = systemDatabase + "." + table.text
		}
	case t.identifier() && (pathColumns[name] || name == "columns" && next.punct('(')),
		t.punct('*') && !c.counted:
		c.column = t.text
	}
	c.counted = t.punct('(') && c.word == "count"
	c.word = name
	return nil
}

// noteParam takes a value that {x:Identifier} may put into the statement: the
// engine takes it as one name, not as a qualified one.
func (c *catalogCheck) noteParam(value string) error {
	if value == systemDatabase {
		return denied(value)
	}
	if pathColumns[strings.ToLower(value)] {
		c.column = value
	}
	return nil
}

// verdict is asked at the statement's end.
func (c *catalogCheck) verdict() error {
	if c.pathTable != "" && c.column != "" {
		return refuse(codeAccessDenied, "ACCESS_DENIED",
			"read-only users may not use %q in a statement on %s, which tells the server's paths: name the other columns", c.column, c.pathTable)
	}
	return nil
}
