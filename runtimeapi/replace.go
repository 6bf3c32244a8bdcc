package runtimeapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// MapContent is what a map shall hold.
type MapContent struct {
	// ID is the file name as the configuration writes it, or #number.
	ID string
	// Entries in the map's order; a map_reg takes the first that matches.
	Entries []Entry
}

// ReplaceMap swaps the whole content of one map; see ReplaceMaps.
func (c *Client) ReplaceMap(ctx context.Context, id string, entries []Entry) error {
	return c.ReplaceMaps(ctx, []MapContent{{id, entries}})
}

// ReplaceMaps swaps the content of several maps (level user; HAProxy 3.4: admin).
// Each new content is prepared as a version beside the live one, read back and
// compared entry by entry; only when all are right are they committed, in the
// order given, and read back once more. On an error before the first commit no
// live map has changed and the prepared versions are cleared (3.4.0 says so but
// keeps them until the map's next commit; no request sees them).
//
// A commit is atomic for lookups: a request sees one map's old content or its
// new one, never a mixture. Between two commits there is a window in which a
// request may see the first map new and the second one old: below a millisecond
// for small maps, and about a millisecond more for each 1,000 old entries of the
// first, which HAProxy frees before it answers. No
// order of commits is safe by itself (a role that gains a member and loses a
// grant; one that loses a member and gains a grant): where that matters, first
// replace with what both contents have in common.
//
// Should a commit fail after another has succeeded, the error is a
// *HalfReplacedError. Calling again with the same content mends it.
//
// A program that dies in between leaves a prepared version behind. No request
// sees it, and the map's next commit removes it.
func (c *Client) ReplaceMaps(ctx context.Context, contents []MapContent) error {
	if err := checkContents(contents); err != nil {
		return err
	}
	versions := make([]uint32, len(contents))
	for i, m := range contents {
		if err := c.prepare(ctx, m, &versions[i]); err != nil {
			return errors.Join(err, c.abandon(ctx, contents, versions))
		}
	}
	for i, m := range contents {
		if err := c.commit(ctx, m, versions[i]); err != nil {
			err = errors.Join(err, c.abandon(ctx, contents[i+1:], versions[i+1:]))
			if i > 0 {
				err = &HalfReplacedError{Live: ids(contents[:i]), Old: ids(contents[i:]), Err: err}
			}
			return err
		}
	}
	for _, m := range contents {
		if err := c.compare(ctx, m, 0); err != nil {
			return fmt.Errorf("after the commit: %w", err)
		}
	}
	return nil
}

// HalfReplacedError: of several maps, the first ones were committed.
type HalfReplacedError struct {
	// Live has the new content. Old has the old one; its first may have either.
	Live, Old []string
	Err       error
}

// Error names the maps on both sides.
func (e *HalfReplacedError) Error() string {
	return fmt.Sprintf("the new content of %s is live, that of %s is not; push the same content again: %v",
		strings.Join(e.Live, ", "), strings.Join(e.Old, ", "), e.Err)
}

// Unwrap gives the failed commit.
func (e *HalfReplacedError) Unwrap() error { return e.Err }

func ids(contents []MapContent) []string {
	var names []string
	for _, m := range contents {
		names = append(names, m.ID)
	}
	return names
}

// checkContents finds before the first command what could only fail later.
func checkContents(contents []MapContent) error {
	seen := map[string]bool{}
	for _, m := range contents {
		if err := checkMapID(m.ID); err != nil {
			return err
		}
		if seen[m.ID] {
			return fmt.Errorf("map %s is given twice; join its entries", m.ID)
		}
		seen[m.ID] = true
		for i, e := range m.Entries {
			if err := e.check(); err != nil {
				return fmt.Errorf("map %s: entry %d: %w", m.ID, i+1, err)
			}
		}
	}
	return nil
}

// prepare makes a version with the new content and compares it. version is set
// as soon as there is one to abandon.
func (c *Client) prepare(ctx context.Context, m MapContent, version *uint32) error {
	cmd := mapCommand("prepare", m.ID, 0)
	reply, err := c.ask(ctx, cmd)
	if err != nil {
		return err
	}
	number, ok := strings.CutPrefix(reply, "New version created: ")
	if !ok {
		return c.to.refuse(cmd.name, classify(reply), reply)
	}
	if *version, err = parseGeneration(strings.TrimSpace(number)); err != nil || *version == 0 {
		*version = 0
		return c.to.refuse(cmd.name, ErrMalformed, reply)
	}
	for _, chunk := range chunks(m.ID, *version, m.Entries) {
		if err := c.do(ctx, chunk); err != nil {
			return err
		}
	}
	return c.compare(ctx, m, *version)
}

// chunks cuts entries into commands of at most maxMessage bytes that keep their
// order.
func chunks(id string, version uint32, entries []Entry) []command {
	var commands []command
	base := mapCommand("add", id, version)
	var payload strings.Builder
	first := 0
	flush := func(end int) {
		if payload.Len() > 0 {
			cmd := base
			cmd.name += fmt.Sprintf(" (entries %d to %d)", first+1, end)
			cmd.payload = payload.String()
			commands = append(commands, cmd)
			payload.Reset()
		}
	}
	room := maxMessage - len(base.line) - len(" <<\n") - len("\n")
	for i, e := range entries {
		if e.inline() {
			flush(i)
			cmd := base
			cmd.name += fmt.Sprintf(" (entry %d)", i+1)
			cmd.line += " " + quote(e.Key) + " " + quote(e.Value)
			commands = append(commands, cmd)
			continue
		}
		if payload.Len()+len(e.line()) > room {
			flush(i)
		}
		if payload.Len() == 0 {
			first = i
		}
		payload.WriteString(e.line())
	}
	flush(len(entries))
	return commands
}

// compare reads a version (0: the live one) and says where it differs from m.
func (c *Client) compare(ctx context.Context, m MapContent, version uint32) error {
	have, err := c.list(ctx, m.ID, version)
	if err != nil {
		return err
	}
	cause := error(nil)
	if len(have) != len(m.Entries) {
		cause = fmt.Errorf("%d entries, want %d", len(have), len(m.Entries))
	}
	for i := range min(len(have), len(m.Entries)) {
		if want := m.Entries[i].shown(); have[i].text != want {
			cause = fmt.Errorf("entry %d of %d is %.100q, want %.100q", i+1, len(m.Entries), have[i].text, want)
			break
		}
	}
	if cause == nil {
		return nil
	}
	return &CommandError{Address: c.to.String(), Command: mapCommand("show", m.ID, version).name, Kind: ErrMismatch, Cause: cause}
}

// commit makes a version the live one. When the reply is lost, the map itself
// says whether the commit was run.
func (c *Client) commit(ctx context.Context, m MapContent, version uint32) error {
	err := c.do(ctx, mapCommand("commit", m.ID, version))
	if !errors.Is(err, ErrPartial) {
		return err
	}
	after, cancel := c.aftermath(ctx)
	defer cancel()
	if c.compare(after, m, 0) == nil {
		return nil
	}
	return err
}

// abandon clears the prepared versions, also after ctx has ended.
func (c *Client) abandon(ctx context.Context, contents []MapContent, versions []uint32) error {
	after, cancel := c.aftermath(ctx)
	defer cancel()
	var failed error
	for i, m := range contents {
		if versions[i] != 0 {
			failed = errors.Join(failed, c.do(after, mapCommand("clear", m.ID, versions[i])))
		}
	}
	return failed
}

// aftermath is time for tidying up that the caller's cancellation does not take.
func (c *Client) aftermath(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), c.to.options.Timeout)
}
