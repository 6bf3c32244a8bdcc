package runtimeapi

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Options of a Client or a Master. The zero value has every default.
type Options struct {
	// Timeout of one command, from connecting to the end of its reply; a nearer
	// deadline of the context goes before it. Default 10s, which is also the
	// default of HAProxy's own "stats timeout".
	Timeout time.Duration
	// MaxReply bounds one reply, in bytes; a longer one is ErrTooLarge. Default
	// 256 MiB: a map of a million entries has about 100.
	MaxReply int
}

// Client speaks to a stats socket. It holds no connection and no state; any
// number of goroutines may use it.
type Client struct {
	to socket
}

// New makes a client for address: "unix:/path", "/path" or "tcp:host:port" (a
// stats socket may be bound to a port: keep it on loopback, it has no password).
// It does not connect.
func New(address string, o Options) (*Client, error) {
	to, err := newSocket(address, o)
	if err != nil {
		return nil, err
	}
	return &Client{to}, nil
}

// command is one line, and perhaps a payload.
type command struct {
	name    string // verb and target for errors; no value, no secret
	line    string // without line feed, arguments quoted
	payload string // lines with their line feeds, none of them empty; "" for none
}

// of builds a command without secrets: its words, unquoted, are also its name.
func of(words ...string) command {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return command{name: strings.Join(words, " "), line: strings.Join(quoted, " ")}
}

// text is what is sent. An empty line ends the payload.
func (c command) text() string {
	if c.payload == "" {
		return c.line + "\n"
	}
	return c.line + " <<\n" + c.payload + "\n"
}

// ask sends cmd and returns its reply without the final blank line; complete or
// not at all.
func (c *Client) ask(ctx context.Context, cmd command) (string, error) {
	text := cmd.text()
	if len(text) > maxMessage {
		return "", fmt.Errorf("haproxy %s: %q: %w: %d bytes, the limit is %d", c.to, cmd.name, ErrTooLarge, len(text), maxMessage)
	}
	reply, err := c.to.exchange(ctx, text, false)
	if err != nil {
		return "", c.to.fail(cmd.name, err)
	}
	body, ok := whole(reply)
	if !ok {
		return "", c.to.cut(cmd.name, reply)
	}
	return severity.ReplaceAllString(body, ""), nil
}

// do sends a command whose success is silence: any word is a refusal.
func (c *Client) do(ctx context.Context, cmd command) error {
	reply, err := c.ask(ctx, cmd)
	if err != nil {
		return err
	}
	if strings.TrimSpace(reply) != "" {
		return c.to.refuse(cmd.name, classify(reply), reply)
	}
	return nil
}

// whole is a reply without the blank line that must end it. The reply of a
// command that has nothing to say is that line alone.
func whole(reply string) (body string, ok bool) {
	if reply == "\n" {
		return "", true
	}
	if !strings.HasSuffix(reply, "\n\n") {
		return "", false
	}
	return reply[:len(reply)-1], true
}
