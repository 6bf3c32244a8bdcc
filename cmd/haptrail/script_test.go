package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"os/exec"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// exits N COMMAND... runs a command that must end with exit code N.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	have := 0
	var ended *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &ended) {
		have = ended.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if neg || have != want {
		ts.Fatalf("exit code %d, want %d", have, want)
	}
}

// rows json|csv N parses the last command's output: a JSON array of objects
// with the same keys, or CSV with a heading, and N rows.
func rows(ts *testscript.TestScript, neg bool, args []string) {
	table := parseOutput(ts, args[0])
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	if neg || len(table) != want {
		ts.Fatalf("%d rows, want %d", len(table), want)
	}
	for i, row := range table {
		if len(row) != len(table[0]) {
			ts.Fatalf("row %d has %d fields, the first %d", i+1, len(row), len(table[0]))
		}
	}
}

// column json|csv NAME VALUE parses the output likewise: the first row's
// column is VALUE, as JSON or as the text of a CSV field.
func column(ts *testscript.TestScript, neg bool, args []string) {
	table := parseOutput(ts, args[0])
	if len(table) == 0 {
		ts.Fatalf("no rows")
	}
	have, ok := table[0][args[1]]
	if !ok || (have == args[2]) == neg {
		ts.Fatalf("%s is %s, want %s", args[1], have, args[2])
	}
}

func parseOutput(ts *testscript.TestScript, format string) (table []map[string]string) {
	text := ts.ReadFile("stdout")
	if format == "json" {
		var objects []map[string]json.RawMessage
		ts.Check(json.Unmarshal([]byte(text), &objects))
		if objects == nil {
			ts.Fatalf("not an array, but null")
		}
		for _, object := range objects {
			row := map[string]string{}
			for name, value := range object {
				row[name] = string(value)
			}
			table = append(table, row)
		}
		return table
	}
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	ts.Check(err)
	if len(records) == 0 {
		ts.Fatalf("no heading")
	}
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, name := range records[0] {
			row[name] = record[i]
		}
		table = append(table, row)
	}
	return table
}
