package schema

import (
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"text/template"
)

//go:embed sql
var sqlFiles embed.FS

// Target says for which server the statements are rendered.
type Target struct {
	Database string // default "haptrail"
	Cluster  string // "" for one server
}

// Statement is one numbered statement of sql/migrations, rendered.
type Statement struct {
	Version uint32 // the number in front of the file's name
	Name    string // the file's name without number and ending
	SQL     string // "" when the statement does not exist for this target
	Source  string // the text before rendering: what Hash is made of
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// Statements renders all statements for a target, in the order to run them.
func Statements(t Target) ([]Statement, error) {
	if t.Database == "" {
		t.Database = DefaultDatabase
	}
	for what, name := range map[string]string{"database": t.Database, "cluster": t.Cluster} {
		if name != "" && !identifier.MatchString(name) {
			return nil, fmt.Errorf("%s %q: only letters, digits, _ and - may stand in the name", what, name)
		}
	}
	files, err := fs.Glob(sqlFiles, "sql/migrations/*.sql")
	if err != nil {
		return nil, err
	}
	statements := make([]Statement, 0, len(files))
	for _, file := range files {
		st, err := render(file, t)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		statements = append(statements, st)
	}
	return statements, nil
}

func render(file string, t Target) (Statement, error) {
	source, err := sqlFiles.ReadFile(file)
	if err != nil {
		return Statement{}, err
	}
	base := strings.TrimSuffix(file[strings.LastIndexByte(file, '/')+1:], ".sql")
	number, name, _ := strings.Cut(base, "_")
	version, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return Statement{}, fmt.Errorf("the name must begin with a number: %w", err)
	}
	tmpl, err := template.New(base).Funcs(t.functions()).Parse(string(source))
	if err != nil {
		return Statement{}, err
	}
	var sql strings.Builder
	if err := tmpl.Execute(&sql, t); err != nil {
		return Statement{}, err
	}
	text := strings.TrimSpace(sql.String())
	if isComment(text) {
		text = ""
	}
	return Statement{Version: uint32(version), Name: name, SQL: text, Source: string(source)}, nil
}

// functions are what a statement says differently on one server and on a
// cluster. There, requests is split over the shards (requests_local on each,
// requests in front); every other table is small and whole on every node.
func (t Target) functions() template.FuncMap {
	quoted := func(name string) string { return "`" + t.Database + "`." + name }
	return template.FuncMap{
		"name":  quoted,
		"table": quoted,
		"sharded": func(name string) string {
			if t.Cluster != "" {
				name += "_local"
			}
			return quoted(name)
		},
		"on_cluster": func() string {
			if t.Cluster == "" {
				return ""
			}
			return "ON CLUSTER '" + t.Cluster + "'"
		},
		"engine": func(name string, args ...string) string {
			return t.engine(name, "/clickhouse/tables/all/{database}/{table}", "{shard}_{replica}", args)
		},
		"sharded_engine": func(name string, args ...string) string {
			return t.engine(name, "/clickhouse/tables/{shard}/{database}/{table}", "{replica}", args)
		},
		"network": network,
		"narrow": func(part string) string { // a view shows all; see trailText
			if part == "requests" {
				return quoted(part)
			}
			return ""
		},
	}
}

// network is the /24 of an address, or of an IPv6 one the /56, as an expression: its
// first address.
func network(address string) string {
	v4 := address + " BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255')"
	return "tupleElement(IPv6CIDRToRange(" + address + ", if(" + v4 + ", 120, 56)), 1)"
}

func (t Target) engine(name, path, replica string, args []string) string {
	if t.Cluster != "" {
		name = "Replicated" + name
		args = append([]string{"'" + path + "'", "'" + replica + "'"}, args...)
	}
	if len(args) == 0 {
		return name
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}

func isComment(sql string) bool {
	for line := range strings.Lines(sql) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "--") {
			return false
		}
	}
	return true
}
