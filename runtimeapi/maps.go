package runtimeapi

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Map is one line of "show map". HAProxy's entry_cnt is left out on purpose: an
// entry that is refused counts down although the content is intact (2.6 to 3.3).
type Map struct {
	// ID is HAProxy's number; it may change with a reload. "#ID" names the map.
	ID int
	// File is the name exactly as the configuration writes it, which names the
	// map too; virt@NAME and opt@NAME (3.0 and later) are such names.
	File string
	// Description says where the configuration uses it.
	Description string
	// Current is the version that lookups see, Next the last one prepared.
	Current, Next uint32
}

// Entry is a key and its value, both as HAProxy sees them.
type Entry struct {
	// Key is a word, an address or a regular expression, by the map's type. A key
	// with a blank cannot be written to a map file, only sent here.
	Key string
	// Value is the rest of the line; it may be empty if Key has no blank.
	Value string
}

// Maps lists the maps (level user; HAProxy 3.4: admin).
func (c *Client) Maps(ctx context.Context) ([]Map, error) {
	cmd := of("show", "map")
	reply, err := c.ask(ctx, cmd)
	if err != nil {
		return nil, err
	}
	maps, err := parseMaps(reply)
	if err != nil {
		return nil, c.to.misread(cmd.name, reply, err)
	}
	return maps, nil
}

const mapsHeader = "# id (file) description"

// mapsLine: the file may hold any character, so the words that HAProxy puts after
// it are looked for first; an ACL's own patterns have others.
var mapsLine = regexp.MustCompile(`^(-?\d+) (?:\((.*)\) (pattern loaded from .*)|\((.*?)\) (.*))\. curr_ver=(\d+) next_ver=(\d+) entry_cnt=\d+$`)

func parseMaps(reply string) ([]Map, error) {
	rest, ok := strings.CutPrefix(reply, mapsHeader+"\n")
	if !ok {
		return nil, fmt.Errorf("the first line is not %q", mapsHeader)
	}
	var maps []Map
	for line := range strings.Lines(rest) {
		m := mapsLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			return nil, fmt.Errorf("line %.100q is no map", line)
		}
		one := Map{File: m[2] + m[4], Description: m[3] + m[5]}
		var err error
		if one.ID, err = strconv.Atoi(m[1]); err != nil {
			return nil, err
		}
		if one.Current, err = parseGeneration(m[6]); err != nil {
			return nil, err
		}
		if one.Next, err = parseGeneration(m[7]); err != nil {
			return nil, err
		}
		maps = append(maps, one)
	}
	return maps, nil
}

func parseGeneration(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err
}

// Map reads the live entries of a map in its order, which is the order that a
// map_reg is searched in (level user; HAProxy 3.4: admin). id is the file name as
// the configuration writes it, or #number.
//
// HAProxy writes "key value" without any escape, so a key with a blank comes back
// as its first word, with the rest in front of the value.
func (c *Client) Map(ctx context.Context, id string) ([]Entry, error) {
	listed, err := c.list(ctx, id, 0)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(listed))
	for i, l := range listed {
		entries[i].Key, entries[i].Value, _ = strings.Cut(l.text, " ")
	}
	return entries, nil
}

// listed is an entry as "show map" prints it.
type listed struct {
	address string // in HAProxy's memory, such as 0x5563005a65e0
	text    string // key, blank, value
}

// list reads the entries of a version; of the live one if version is 0 (no
// prepared one has that number).
func (c *Client) list(ctx context.Context, id string, version uint32) ([]listed, error) {
	if err := checkMapID(id); err != nil {
		return nil, err
	}
	cmd := mapCommand("show", id, version)
	reply, err := c.ask(ctx, cmd)
	if err != nil {
		return nil, err
	}
	entries, err := parseEntries(reply)
	if err != nil {
		return nil, c.to.misread(cmd.name, reply, err)
	}
	return entries, nil
}

// parseEntries reads "0x5563005a65e0 key value" lines.
func parseEntries(reply string) ([]listed, error) {
	entries := make([]listed, 0, strings.Count(reply, "\n"))
	for line := range strings.Lines(reply) {
		address, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		digits, hex := strings.CutPrefix(address, "0x")
		if !ok || !hex || digits == "" || strings.Trim(digits, "0123456789abcdef") != "" {
			return nil, fmt.Errorf("line %.100q is no entry", line)
		}
		entries = append(entries, listed{address, text})
	}
	return entries, nil
}

// checkMapID refuses what names no map: "@" would be read as a version.
func checkMapID(id string) error {
	if strings.HasPrefix(id, "@") {
		return fmt.Errorf("map id %.60q: %w: a leading @ means a version; use the file name or #number", id, ErrInexpressible)
	}
	return checkArg("map id", id)
}

// mapCommand is "verb map [@version] id".
func mapCommand(verb, id string, version uint32) command {
	if version == 0 {
		return of(verb, "map", id)
	}
	return of(verb, "map", "@"+strconv.FormatUint(uint64(version), 10), id)
}
