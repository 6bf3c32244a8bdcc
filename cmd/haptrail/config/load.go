package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/haptrail/haptrail/internal/strictyaml"
)

// Load reads and checks a configuration file. Relative paths in it are taken
// from the file's own folder. HAPTRAIL_DSN in the environment goes before dsn.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	c, places, err := decode(text)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	c.resolve(filepath.Dir(path))
	if dsn := os.Getenv("HAPTRAIL_DSN"); dsn != "" {
		c.DSN = dsn
	}
	if err := c.validate(places); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse reads and checks a configuration's text, paths and environment left as
// they are.
func Parse(text []byte) (Config, error) {
	c, places, err := decode(text)
	if err != nil {
		return Config{}, err
	}
	if err := c.validate(places); err != nil {
		return Config{}, err
	}
	return c, nil
}

func decode(text []byte) (Config, strictyaml.Places, error) {
	c := Default()
	err := strictyaml.Decode(text, &c)
	if errors.Is(err, strictyaml.ErrEmpty) {
		return Default(), nil, nil
	}
	if err != nil {
		return Config{}, nil, withoutPassword(whereSecretsStand(err))
	}
	places, err := strictyaml.Locate(text)
	if err != nil {
		return Config{}, nil, err
	}
	return c, places, nil
}

// unknownKey is the end of an error for an unknown key, with the one that is alike.
var unknownKey = regexp.MustCompile(`unknown key "(\w+)"(: did you mean "(\w+)"\?)?$`)

// whereSecretsStand says to who wrote a secret into the file how to do without.
func whereSecretsStand(err error) error {
	m := unknownKey.FindStringSubmatch(err.Error())
	if m == nil || !slices.Contains(strictyaml.Keys(reflect.TypeFor[Config]()), m[1]+"_file") {
		return err
	}
	if m[3] != "" && m[3] != m[1]+"_file" && m[3] != m[1]+"_env" {
		return err // another key is meant
	}
	return fmt.Errorf("%s: secrets stand elsewhere: write %s_file or %s_env", strings.TrimSuffix(err.Error(), m[2]), m[1], m[1])
}

// UnmarshalYAML lets a format be a built-in's name alone.
func (f *Format) UnmarshalYAML(node ast.Node) error {
	if _, ok := node.(*ast.StringNode); ok {
		*f = Format{Name: node.GetToken().Value}
		return nil
	}
	type fields Format
	return yaml.NewDecoder(strings.NewReader(""), yaml.Strict()).DecodeFromNode(node, (*fields)(f))
}

// resolve makes paths absolute, from the configuration file's folder.
func (c *Config) resolve(dir string) {
	c.DSN = resolveDSN(c.DSN, dir)
	paths := []*string{&c.State, &c.Engine.Library}
	if c.Engine.Socket != "off" {
		paths = append(paths, &c.Engine.Socket)
	}
	if c.Engine.HTTP != nil {
		for i := range c.Engine.HTTP.Users {
			paths = append(paths, &c.Engine.HTTP.Users[i].PasswordFile)
		}
	}
	for i := range c.Listeners {
		tls := &c.Listeners[i].TLS
		paths = append(paths, &tls.Cert, &tls.Key, &tls.ClientCA)
	}
	for i := range c.Formats {
		paths = append(paths, &c.Formats[i].HAProxyCfg)
	}
	if e := c.Edge; e != nil {
		paths = append(paths, &e.Policy, &e.Dir)
		if e.Binary != "off" && strings.Contains(e.Binary, "/") { // a word alone is searched on PATH
			paths = append(paths, &e.Binary)
		}
		for i := range e.Files {
			paths = append(paths, &e.Files[i])
		}
	}
	paths = append(paths, c.CI.files()...)
	paths = append(paths, c.Alerts.files()...)
	for _, p := range paths {
		if *p != "" {
			*p = absolute(*p, dir)
		}
	}
	for i := range c.Listeners {
		scheme, path, ok := strings.Cut(c.Listeners[i].Address, "://")
		if ok && path != "" && (scheme == "unix" || scheme == "unixgram") {
			c.Listeners[i].Address = scheme + "://" + absolute(path, dir)
		}
	}
}

func absolute(path, dir string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// resolveDSN does the same to the path that a DSN is, or to its password_file.
func resolveDSN(dsn, dir string) string {
	kind, path, _ := strings.Cut(dsn, ":")
	if kind == "embedded" || kind == "unix" {
		if path = strings.TrimPrefix(path, "//"); path == "" {
			return dsn // an error, which Validate names
		}
		return kind + ":" + absolute(path, dir)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return dsn
	}
	query := u.Query()
	file := query.Get("password_file")
	if file == "" {
		return dsn
	}
	query.Set("password_file", absolute(file, dir))
	u.RawQuery = query.Encode()
	return u.String()
}
