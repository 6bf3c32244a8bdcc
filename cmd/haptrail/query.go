package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

type queryCmd struct {
	where
	SQL []string `arg:"" help:"The query, without FORMAT; - reads it from standard input. The tables are in docs/schema.md, and in: SHOW TABLES."`
	output
}

func (c *queryCmd) Run(ctx context.Context, s streams) error {
	sql := strings.Join(c.SQL, " ")
	if sql == "-" {
		text, err := io.ReadAll(s.in)
		if err != nil {
			return err
		}
		sql = string(text)
	}
	if strings.TrimSpace(sql) == "" {
		return usageError{errors.New("the query is empty")}
	}
	store, err := c.open(ctx, false)
	if err != nil {
		return err
	}
	defer store.Close()
	// readonly = 2: nothing that writes, and no setting can lift it again.
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"readonly": 2}))
	rows, err := store.Conn().Query(ctx, sql)
	switch {
	case err != nil && withFormat.MatchString(sql): // what came was no answer to the driver
		return hint(err, "leave FORMAT out: -o table, json or csv says how rows are printed")
	case err != nil:
		return err
	}
	defer rows.Close()
	w := bufio.NewWriter(s.out)
	if err := writeRows(w, rows, c.Output, styleOf(s.out)); err != nil {
		return err
	}
	return w.Flush()
}

// withFormat fits a query that chooses its own output format.
var withFormat = regexp.MustCompile(`(?i)\bFORMAT\s+\w+\s*;?\s*$`)

func writeRows(w *bufio.Writer, rows driver.Rows, format string, st style) error {
	names := rows.Columns()
	emit, end := rowWriterFor(w, format, names, st)
	for rows.Next() {
		values := make([]any, len(names))
		for i, t := range rows.ColumnTypes() {
			values[i] = reflect.New(t.ScanType()).Interface()
		}
		if err := rows.Scan(values...); err != nil {
			return err
		}
		for i, v := range values {
			values[i] = plain(reflect.ValueOf(v).Elem().Interface())
		}
		if err := emit(values); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return end()
}

// rowWriterFor returns what writes a row, and what ends the output.
func rowWriterFor(w *bufio.Writer, format string, names []string, st style) (emit func([]any) error, end func() error) {
	switch format {
	case "json":
		separator := "["
		return func(values []any) error {
				var object strings.Builder
				for i, v := range values {
					name, _ := json.Marshal(names[i])
					value, err := json.Marshal(v)
					var unsupported *json.UnsupportedValueError
					if errors.As(err, &unsupported) {
						value, err = json.Marshal(finite(reflect.ValueOf(v)))
					}
					if err != nil {
						return fmt.Errorf("column %s: %w", names[i], err)
					}
					fmt.Fprintf(&object, ",%s:%s", name, value)
				}
				fmt.Fprintf(w, "%s\n{%s}", separator, object.String()[1:])
				separator = ","
				return nil
			}, func() error {
				if separator == "[" {
					w.WriteString("[")
				}
				_, err := w.WriteString("]\n")
				return err
			}
	case "csv":
		c := csv.NewWriter(w)
		_ = c.Write(names) // the error stays in c
		return func(values []any) error { return c.Write(textsOf(values, rfc3339)) },
			func() error { c.Flush(); return c.Error() }
	}
	var cells [][]string
	return func(values []any) error { cells = append(cells, textsOf(values, short)); return nil },
		func() error { writeTable(w, names, cells, st); return nil }
}

func textsOf(values []any, timeText func(time.Time) string) []string {
	texts := make([]string, len(values))
	for i, v := range values {
		switch x := v.(type) {
		case time.Time:
			texts[i] = timeText(x)
		case nil:
			texts[i] = ""
		default:
			texts[i] = fmt.Sprint(x)
		}
	}
	return texts
}

// finite replaces NaN and infinities, for which JSON has no number, by null, as
// ClickHouse does.
func finite(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil
		}
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return finite(v.Elem())
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = finite(v.Index(i))
		}
		return list
	case reflect.Map:
		object := map[string]any{}
		for _, key := range v.MapKeys() {
			object[fmt.Sprint(key.Interface())] = finite(v.MapIndex(key))
		}
		return object
	}
	return v.Interface()
}

// plain shows an IPv4 address as one, a big integer as a number, and a nullable
// value as what it holds.
func plain(v any) any {
	if v == nil {
		return nil
	}
	if n, ok := v.(big.Int); ok { // only the pointer has its methods
		return &n
	}
	if s, ok := v.(interface{ String() string }); ok {
		if a, err := netip.ParseAddr(s.String()); err == nil {
			return a.Unmap().String()
		}
	}
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer {
		if p.IsNil() {
			return nil
		}
		return plain(p.Elem().Interface())
	}
	return v
}
