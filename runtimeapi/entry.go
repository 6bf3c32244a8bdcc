package runtimeapi

import (
	"context"
	"fmt"
	"strings"
)

// AddEntry adds one entry at the end of the live map. HAProxy never looks for
// duplicates: in a map_reg the earlier one goes on to win.
func (c *Client) AddEntry(ctx context.Context, id string, e Entry) error {
	if err := checkMapID(id); err != nil {
		return err
	}
	if err := e.check(); err != nil {
		return err
	}
	cmd := mapCommand("add", id, 0)
	if e.inline() {
		cmd.line += " " + quote(e.Key) + " " + quote(e.Value)
	} else {
		cmd.payload = e.line()
	}
	return c.do(ctx, cmd)
}

// SetEntry changes the value of a key in the live map, of each of its entries if
// there are several. ErrNotFound: there is none. key and value must not be empty,
// and the key is as Map returns it, so it has no blank.
//
// HAProxy is told the entries by their addresses, one by one. By the key, it does
// something else in each version: up to 3.1 a prepared version is changed too,
// 3.2.0 then never comes back (and is killed by its watchdog), 3.3.0 does not find
// the key any more, and from 3.3 on only the last of several entries is changed.
func (c *Client) SetEntry(ctx context.Context, id string, e Entry) error {
	if err := checkArg("map value", e.Value); err != nil {
		return err
	}
	return c.each(ctx, "set", id, e.Key, " "+quote(e.Value))
}

// DelEntry removes a key from the live map, with each of its entries.
// ErrNotFound: there is none. The key is as for SetEntry.
func (c *Client) DelEntry(ctx context.Context, id, key string) error {
	return c.each(ctx, "del", id, key, "")
}

// each runs verb on every live entry of a key.
func (c *Client) each(ctx context.Context, verb, id, key, argument string) error {
	if strings.Contains(key, " ") {
		return fmt.Errorf("map key %.60q: %w: HAProxy does not show where a key with a blank ends; replace the map instead", key, ErrInexpressible)
	}
	if err := checkArg("map key", key); err != nil {
		return err
	}
	entries, err := c.list(ctx, id, 0)
	if err != nil {
		return err
	}
	cmd := mapCommand(verb, id, 0)
	found := false
	for _, e := range entries {
		if name, _, _ := strings.Cut(e.text, " "); name != key {
			continue
		}
		one := cmd
		one.line += " #" + e.address + argument
		if err := c.do(ctx, one); err != nil {
			return err
		}
		found = true
	}
	if !found {
		return &CommandError{Address: c.to.String(), Command: cmd.name, Kind: ErrNotFound}
	}
	return nil
}

// check refuses an entry that neither form of "add map" can carry.
func (e Entry) check() error {
	if err := checkArg("map key", e.Key); err != nil {
		return err
	}
	if err := checkText("map value", e.Value); err != nil {
		return err
	}
	if e.Value == "" && e.inline() {
		return fmt.Errorf("map key %.60q: %w: a key with a blank needs a value", e.Key, ErrInexpressible)
	}
	if n := len(quote(e.Key)) + len(quote(e.Value)); n > maxEntry {
		return fmt.Errorf("map key %.60q: %w: the entry takes %d bytes, the limit is %d", e.Key, ErrTooLarge, n, maxEntry)
	}
	return nil
}

// maxEntry leaves room for the rest of the command: the verb, the version and a
// file name.
const maxEntry = maxMessage - 500

// inline is whether only the one-line form can carry the entry. A payload is
// split at the first blank or tab, and blanks before the value are dropped; it
// knows no escapes.
func (e Entry) inline() bool {
	return strings.ContainsAny(e.Key, " \t") || strings.HasPrefix(e.Value, " ") || strings.HasPrefix(e.Value, "\t")
}

// line is the entry in a payload.
func (e Entry) line() string { return e.shown() + "\n" }

// shown is the entry as "show map" prints it.
func (e Entry) shown() string { return e.Key + " " + e.Value }
