package haproxycfg

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Load reads files in their order. Of a directory it takes what HAProxy's -f
// takes: the regular files whose names end in ".cfg" and do not begin with a
// dot, in the order of their names (management manual, section 3).
func Load(paths ...string) ([]Source, error) {
	var all []Source
	for _, path := range paths {
		names, err := expand(path)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, fmt.Errorf("haproxy configuration: %w", err)
			}
			all = append(all, Source{Name: name, Text: text})
		}
	}
	return all, nil
}

// expand names the files behind one -f.
func expand(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("haproxy configuration: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("haproxy configuration: %w", err)
	}
	var names []string
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		// HAProxy looks at what stands behind the first ".cfg" of the name.
		_, rest, found := strings.Cut(e.Name(), ".cfg")
		if !found || rest != "" || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := os.Stat(name) // and follows links
		if err != nil {
			return nil, fmt.Errorf("haproxy configuration: %w", err)
		}
		if info.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	return names, nil
}
