package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/haptrail/haptrail/schema"
)

type schemaCmd struct {
	Print   schemaPrintCmd   `cmd:"" help:"Print the statements that make the tables, for one server or a cluster."`
	Migrate schemaMigrateCmd `cmd:"" help:"Bring the tables up to date."`
}

type schemaPrintCmd struct {
	Database string `default:"haptrail" help:"The database."`
	Cluster  string `placeholder:"NAME" help:"Render for this cluster: ON CLUSTER, replicated tables, requests distributed over the shards."`
}

func (c *schemaPrintCmd) Run(s streams) error {
	statements, err := schema.Statements(schema.Target{Database: c.Database, Cluster: c.Cluster})
	if err != nil {
		return usageError{err}
	}
	for _, st := range statements {
		if st.SQL == "" {
			continue
		}
		if _, err := fmt.Fprintf(s.out, "-- %04d_%s\n%s;\n\n", st.Version, st.Name, strings.TrimRight(st.SQL, "; \n")); err != nil {
			return err
		}
	}
	return nil
}

type schemaMigrateCmd struct {
	where
	Cluster string `placeholder:"NAME" help:"Run the statements on this cluster."`
}

func (c *schemaMigrateCmd) Run(ctx context.Context, s streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	store, err := schema.Open(ctx, cfg.DSN, storeOptions(cfg, nil))
	if err != nil {
		return err
	}
	defer store.Close()
	applied, err := store.Migrate(ctx, c.Cluster)
	for _, st := range applied {
		fmt.Fprintf(s.out, "applied %04d_%s\n", st.Version, st.Name)
	}
	if err == nil && len(applied) == 0 {
		fmt.Fprintf(s.out, "%s is up to date\n", store.DSN())
	}
	return err
}
