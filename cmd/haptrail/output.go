package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// output is the flag of every command that prints rows.
type output struct {
	Output string `short:"o" enum:"table,json,csv" default:"table" help:"table, json (one array) or csv."`
}

// printer prints rows of T, whose json tags name the columns.
type printer[T any] struct {
	w       *bufio.Writer
	format  string
	columns []int // fields of T to show
	names   []string
	csv     *csv.Writer
	cells   [][]string // of a table, until its widths are known
	rows    int
	empty   string // what a table says when there are no rows
	style   style
}

// newPrinter prints all columns, or only those named where the format is table.
func newPrinter[T any](w io.Writer, format string, tableColumns []string) *printer[T] {
	p := &printer[T]{w: bufio.NewWriter(w), format: format, style: styleOf(w)}
	t := reflect.TypeFor[T]()
	byName := map[string]int{}
	var all []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		byName[name] = i
		all = append(all, name)
	}
	if format != "table" {
		tableColumns = all
	}
	for _, name := range tableColumns {
		p.columns = append(p.columns, byName[name])
		p.names = append(p.names, name)
	}
	if format == "csv" {
		p.csv = csv.NewWriter(p.w)
		_ = p.csv.Write(p.names) // errors stay in the writer until close
	}
	return p
}

func (p *printer[T]) row(v *T) error {
	p.rows++
	switch p.format {
	case "json":
		separator := ",\n"
		if p.rows == 1 {
			separator = "[\n"
		}
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.w, "%s%s", separator, b)
		return nil
	case "csv":
		return p.csv.Write(p.texts(v, rfc3339))
	}
	p.cells = append(p.cells, p.texts(v, short))
	return nil
}

func (p *printer[T]) close() error {
	switch p.format {
	case "json":
		if p.rows == 0 {
			p.w.WriteString("[")
		}
		p.w.WriteString("]\n")
	case "csv":
		p.csv.Flush()
		if err := p.csv.Error(); err != nil {
			return err
		}
	default:
		if p.rows == 0 && p.empty != "" {
			fmt.Fprintln(p.w, p.empty)
		} else {
			writeTable(p.w, p.names, p.cells, p.style)
		}
	}
	return p.w.Flush()
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
func short(t time.Time) string   { return t.UTC().Format("2006-01-02 15:04:05.000") }

func (p *printer[T]) texts(v *T, timeText func(time.Time) string) []string {
	fields := reflect.ValueOf(v).Elem()
	texts := make([]string, len(p.columns))
	for i, f := range p.columns {
		switch x := fields.Field(f).Interface().(type) {
		case time.Time:
			texts[i] = timeText(x)
		default:
			texts[i] = fmt.Sprint(x)
		}
	}
	return texts
}

// style is what the output may look like.
type style struct {
	width int // of the terminal in columns, 0 for no limit
	color bool
}

func styleOf(w io.Writer) style {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return style{}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = 0
	}
	return style{width: width, color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

const (
	gap      = 2  // blanks between columns
	narrowed = 10 // a column is never cut below this
	widest   = 48 // what a cell of a table shows at most, but for the last column; JSON and CSV have all
	shortSHA = 10 // of a commit
)

// writeTable writes cells under upper-case headings. What comes from a log may
// hold control characters: they are shown, not sent to the terminal.
func writeTable(w io.Writer, names []string, rows [][]string, s style) {
	widths := make([]int, len(names))
	heading := make([]string, len(names))
	for i, name := range names { // a query may choose any name
		heading[i] = printable(strings.ToUpper(name))
		widths[i] = utf8.RuneCountInString(heading[i])
	}
	for _, row := range rows {
		for i := range row {
			row[i] = printable(row[i])
			if names[i] == "commit" && len(row[i]) > shortSHA {
				row[i] = row[i][:shortSHA]
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
			if i < len(row)-1 { // the last may be a sentence, and moves no other
				widths[i] = min(widths[i], widest)
			}
		}
	}
	fit(names, widths, s.width)
	writeRow(w, heading, widths, "1", s)
	for _, row := range rows {
		color := ""
		for i, name := range names {
			if name == "decision" && row[i] == "deny" {
				color = "31"
			}
		}
		writeRow(w, row, widths, color, s)
	}
}

func writeRow(w io.Writer, row []string, widths []int, color string, s style) {
	var line strings.Builder
	for i, cell := range row {
		cell = cut(cell, widths[i])
		line.WriteString(cell)
		if i < len(row)-1 {
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+gap))
		}
	}
	text := strings.TrimRight(line.String(), " ")
	if s.color && color != "" {
		text = "\x1b[" + color + "m" + text + "\x1b[0m"
	}
	fmt.Fprintln(w, text)
}

// whole are columns that say nothing when they are cut.
var whole = map[string]bool{
	"time": true, "commit": true, "status": true, "requests": true, "decision": true, "grade": true,
	"id": true, "start": true, "lasted": true, "severity": true, "peak": true, "expected": true, "before": true, "starts": true, "ends": true,
}

// fit narrows the widest columns until the table has the width.
func fit(names []string, widths []int, width int) {
	if width == 0 {
		return
	}
	total := gap * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for total > width {
		most := -1
		for i, name := range names {
			if !whole[name] && (most < 0 || widths[i] > widths[most]) {
				most = i
			}
		}
		if most < 0 || widths[most] <= narrowed {
			return
		}
		widths[most]--
		total--
	}
}

func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// printable replaces what a terminal would act on by its Go escape.
func printable(s string) string {
	clean := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0
	if clean {
		return s
	}
	quoted := fmt.Sprintf("%+q", s)
	return quoted[1 : len(quoted)-1]
}
