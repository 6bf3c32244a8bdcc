package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Load reads and checks a configuration file. Relative paths in it are taken
// from the file's own folder. HAPTRAIL_DSN in the environment goes before dsn.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	c, err := Parse(text)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	c.resolve(filepath.Dir(path))
	if dsn := os.Getenv("HAPTRAIL_DSN"); dsn != "" {
		c.DSN = dsn
	}
	return c, nil
}

// Parse reads and checks a configuration's text.
func Parse(text []byte) (Config, error) {
	c := Default()
	err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&c)
	if err != nil && !errors.Is(err, io.EOF) { // an empty file is the default
		return Config{}, explain(err)
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// UnmarshalYAML lets a format be a built-in's name alone.
func (f *Format) UnmarshalYAML(b []byte) error {
	var name string
	if yaml.Unmarshal(b, &name) == nil {
		*f = Format{Name: name}
		return nil
	}
	type fields Format
	return yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode((*fields)(f))
}

// explain adds the nearest known key to the error on an unknown one.
func explain(err error) error {
	var unknown *yaml.UnknownFieldError
	if !errors.As(err, &unknown) {
		return err
	}
	key := unknown.GetToken().Value
	if near := nearest(key, keysOf(reflect.TypeFor[Config]())); near != "" {
		return fmt.Errorf("%w\ndid you mean %q?", err, near)
	}
	return err
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
	paths := []*string{&c.Engine.Library}
	for _, off := range []*string{&c.Engine.Socket} {
		if *off != "off" {
			paths = append(paths, off)
		}
	}
	if kind, path, _ := strings.Cut(c.DSN, ":"); slices.Contains([]string{"embedded", "unix"}, kind) && !filepath.IsAbs(path) {
		c.DSN = kind + ":" + filepath.Join(dir, path)
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
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
