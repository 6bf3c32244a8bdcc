package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"

	"github.com/haptrail/haptrail/cmd/haptrail/config"
	"github.com/haptrail/haptrail/schema"
)

// defaultConfig is read where neither --config nor --dsn is given.
const defaultConfig = "/etc/haptrail/haptrail.yaml"

// where are the flags of every command that reads or writes the tables.
type where struct {
	DSN    string `name:"dsn" env:"HAPTRAIL_DSN" placeholder:"DSN" help:"Where the tables are: embedded:DIR, unix:SOCKET, clickhouse://… or http(s)://…. Default: the configuration's."`
	Config string `name:"config" short:"c" placeholder:"FILE" help:"Configuration file. Default: ${default_config}, if it is there."`
}

// load reads the configuration that the flags name.
func (w *where) load() (config.Config, error) {
	path := w.Config
	if path == "" {
		if _, err := os.Stat(defaultConfig); errors.Is(err, fs.ErrNotExist) {
			c := config.Default()
			if w.DSN != "" {
				c.DSN = w.DSN
			}
			return c, nil
		}
		path = defaultConfig
	}
	c, err := config.Load(path)
	if w.DSN != "" {
		c.DSN = w.DSN
	}
	return c, err
}

// open opens the tables. Where create is not set, an embedded directory must
// exist: a misspelt one is an error, not an empty trail.
func (w *where) open(ctx context.Context, create bool) (*schema.Store, error) {
	c, err := w.load()
	if err != nil {
		return nil, err
	}
	dsn, err := schema.ParseDSN(c.DSN)
	if err != nil {
		return nil, usageError{err}
	}
	if dsn.Dir != "" && !create {
		if _, err := os.Stat(dsn.Dir); err != nil {
			return nil, hint(fmt.Errorf("no data at %s: %w", dsn, err), "name the place with --dsn, or fill it: haptrail import, haptrail serve, haptrail demo")
		}
	}
	store, err := schema.Open(ctx, c.DSN, storeOptions(c, nil))
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, store, create); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// prepare makes sure that the tables are there. Those of an embedded engine
// are made and brought up to date; a server's are its owner's business.
func prepare(ctx context.Context, store *schema.Store, create bool) error {
	if store.Engine() != nil && create {
		_, err := store.Migrate(ctx, "")
		return err
	}
	return store.CheckSchema(ctx)
}

func storeOptions(c config.Config, log *slog.Logger) schema.Options {
	settings := map[string]string{}
	if c.Engine.Memory > 0 {
		settings["max_server_memory_usage"] = strconv.FormatInt(int64(c.Engine.Memory), 10)
	}
	socket := c.Engine.Socket
	if socket == "off" {
		socket = ""
	}
	return schema.Options{Library: c.Engine.Library, EngineSettings: settings, Socket: socket, Logger: log}
}

// hint adds the repair to an error.
func hint(err error, repair string) error { return hintedError{err, repair} }

type hintedError struct {
	error
	repair string
}

func (e hintedError) Hint() string  { return e.repair }
func (e hintedError) Unwrap() error { return e.error }
