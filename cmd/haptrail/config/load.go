package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Load reads and checks a configuration file. Relative paths in it are taken
// from the file's own folder. HAPTRAIL_DSN in the environment goes before dsn.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	c, err := decode(text)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	c.resolve(filepath.Dir(path))
	if dsn := os.Getenv("HAPTRAIL_DSN"); dsn != "" {
		c.DSN = dsn
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse reads and checks a configuration's text, paths and environment left as
// they are.
func Parse(text []byte) (Config, error) {
	c, err := decode(text)
	if err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// byteOrderMark is what some editors write before the text.
var byteOrderMark = []byte("\ufeff")

func decode(text []byte) (c Config, err error) {
	// The YAML library panics on some broken texts; FuzzParse found them.
	defer func() {
		if p := recover(); p != nil {
			c, err = Config{}, errors.New("this is not YAML that can be read: look for a stray *, &, ! or <<")
		}
	}()
	c = Default()
	d := yaml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, byteOrderMark)), yaml.Strict())
	err = d.Decode(&c)
	if errors.Is(err, io.EOF) { // nothing but comments: the decoder has emptied c
		return Default(), nil
	}
	if err != nil {
		return Config{}, explain(err)
	}
	var more any
	if err := d.Decode(&more); err == nil && more != nil {
		return Config{}, errors.New("a second document follows (---): it would not be read: make it one")
	}
	return c, nil
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

// at says where in the file an error is.
func at(node ast.Node, err error) error {
	return &yaml.SyntaxError{Message: err.Error(), Token: node.GetToken()}
}

// explain names an error's place, and the nearest known key where one is not
// known. The lines around it, which the decoder would show, are left out: the
// dsn among them may hold a password.
func explain(err error) error {
	var placed yaml.Error
	if !errors.As(err, &placed) || placed.GetToken() == nil {
		return withoutPassword(err)
	}
	message := placed.GetMessage()
	var unknown *yaml.UnknownFieldError
	if errors.As(err, &unknown) {
		key := unknown.Token.Value
		message = fmt.Sprintf("unknown key %q", key)
		if near := nearest(key, keysOf(reflect.TypeFor[Config]())); near != "" {
			message += fmt.Sprintf(": did you mean %q?", near)
		}
	}
	var mistyped *yaml.TypeError
	if errors.As(err, &mistyped) && mistyped.SrcType != nil && mistyped.DstType != nil {
		message = fmt.Sprintf("expected %s, not %s", kindName(mistyped.DstType), kindName(mistyped.SrcType))
	}
	p := placed.GetToken().Position
	return withoutPassword(fmt.Errorf("line %d, column %d: %s", p.Line, p.Column, message))
}

// kindName is what a person calls a YAML value.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "keys and values"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "a whole number"
	}
	return "a " + t.Kind().String()
}

// keysOf lists all keys of a configuration struct and what is in it.
func keysOf(t reflect.Type) (keys []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		keys = append(keys, t.Field(i).Tag.Get("yaml"))
		keys = append(keys, keysOf(t.Field(i).Type)...)
	}
	return keys
}

// nearest is the candidate that takes the fewest edits, "" when all are far.
func nearest(word string, candidates []string) (best string) {
	fewest := len(word)/2 + 1
	for _, c := range candidates {
		if d := distance(word, c); d < fewest {
			best, fewest = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two short words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// resolve makes paths absolute, from the configuration file's folder.
func (c *Config) resolve(dir string) {
	c.DSN = resolveDSN(c.DSN, dir)
	paths := []*string{&c.Engine.Library}
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
