package schema

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// DefaultDatabase is where the tables live unless the DSN names another.
const DefaultDatabase = "haptrail"

// SocketName is the file, inside an embedded engine's directory, on which a
// running daemon serves the engine to other haptrail commands.
const SocketName = "haptrail.sock"

// DSN is where the tables are. Exactly one of its forms is set:
//
//	embedded:DIR                       Dir      the engine in this process
//	unix:SOCKET                        Socket   a running daemon's engine
//	clickhouse://user@host:9000/db     Server   a server, native protocol
//	http(s)://user@host:8123/db        Server   a server, HTTP protocol
//
// A server's password comes from the URL, from ?password_file=FILE, or from
// ?password_env=NAME; the last two keep it out of configuration and process list.
type DSN struct {
	Dir    string
	Socket string
	Server *clickhouse.Options
}

// ParseDSN reads a data source name.
func ParseDSN(s string) (DSN, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	switch scheme {
	case "embedded":
		if rest == "" {
			return DSN{}, withHint(fmt.Errorf("dsn %q: no directory", s), "write embedded:DIR, such as embedded:/var/lib/haptrail")
		}
		dir, err := filepath.Abs(strings.TrimPrefix(rest, "//"))
		return DSN{Dir: dir}, err
	case "unix":
		if rest == "" {
			return DSN{}, withHint(fmt.Errorf("dsn %q: no socket", s), "write unix:SOCKET, such as unix:/var/lib/haptrail/"+SocketName)
		}
		path, err := filepath.Abs(strings.TrimPrefix(rest, "//"))
		return DSN{Socket: path}, err
	case "clickhouse", "http", "https":
		server, err := parseServer(s)
		return DSN{Server: server}, err
	}
	return DSN{}, withHint(fmt.Errorf("dsn %q: unknown kind", redactURL(s)),
		"use embedded:DIR, unix:SOCKET, clickhouse://user@host:9000/haptrail or http(s)://user@host:8123/haptrail")
}

func parseServer(s string) (*clickhouse.Options, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("dsn: %s is not a URL", redactURL(s))
	}
	password, err := takePassword(u)
	if err != nil {
		return nil, fmt.Errorf("dsn %s: %w", redactURL(s), err)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/" + DefaultDatabase
	}
	options, err := clickhouse.ParseDSN(u.String())
	if err != nil {
		return nil, fmt.Errorf("dsn %s: %w", redactURL(s), err)
	}
	if password != "" {
		options.Auth.Password = password
	}
	return options, nil
}

// takePassword removes password_file and password_env from the URL and
// returns what they lead to.
func takePassword(u *url.URL) (string, error) {
	query := u.Query()
	file, env := query.Get("password_file"), query.Get("password_env")
	query.Del("password_file")
	query.Del("password_env")
	u.RawQuery = query.Encode()
	switch {
	case file != "":
		b, err := os.ReadFile(file)
		return strings.TrimRight(string(b), "\r\n"), err
	case env != "":
		password, ok := os.LookupEnv(env)
		if !ok {
			return "", fmt.Errorf("password_env: %s is not set", env)
		}
		return password, nil
	}
	return "", nil
}

// redactURL is a faulty DSN as it may be shown: without what stands in front of
// an @, and without the value of a password parameter.
func redactURL(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		scheme, _, _ := strings.Cut(s, ":")
		s = scheme + "://…" + s[at:]
	}
	return passwordParameter.ReplaceAllString(s, "$1=…")
}

var passwordParameter = regexp.MustCompile(`(?i)\b(password|passwd|pwd|secret)=[^&]*`)

// String is the DSN as it may be shown: without a password.
func (d DSN) String() string {
	switch {
	case d.Dir != "":
		return "embedded:" + d.Dir
	case d.Socket != "":
		return "unix:" + d.Socket
	case d.Server != nil:
		scheme := "clickhouse"
		if d.Server.Protocol == clickhouse.HTTP {
			scheme = "http"
		}
		return scheme + "://" + strings.Join(d.Server.Addr, ",") + "/" + d.Server.Auth.Database
	}
	return ""
}

// hinted is an error with the command or change that repairs it.
type hinted struct {
	error
	hint string
}

func withHint(err error, hint string) error { return &hinted{err, hint} }

// Hint is the repair.
func (e *hinted) Hint() string { return e.hint }

func (e *hinted) Unwrap() error { return e.error }
