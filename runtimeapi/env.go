package runtimeapi

import (
	"context"
	"fmt"
	"strings"
)

// Env reads a variable of the worker's environment, as its configuration set it
// with setenv ("show env"; level operator). ok is false where there is none.
func (c *Client) Env(ctx context.Context, name string) (value string, ok bool, err error) {
	if err := checkArg("variable", name); err != nil {
		return "", false, err
	}
	cmd := of("show", "env", name)
	reply, err := c.ask(ctx, cmd)
	if err != nil {
		return "", false, err
	}
	reply = strings.TrimSuffix(reply, "\n")
	if reply == "Variable not found" {
		return "", false, nil
	}
	if value, ok = strings.CutPrefix(reply, name+"="); !ok {
		return "", false, c.to.misread(cmd.name, reply, fmt.Errorf("want %s=", name))
	}
	return value, true, nil
}
