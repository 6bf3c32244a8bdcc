package burst

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
)

// ReadCSV reads rows "time,key,count": the time as RFC 3339 or as seconds since 1970
// (with or without a fraction), the count a whole number below 2^32. The first line
// may name the columns; then they may be in any order and others among them. Rows
// come out sorted by time; in the file a row may be up to slack behind the newest one
// before it, and so much is held in memory. It ends at the first error, which names
// the line.
func ReadCSV(from io.Reader, slack time.Duration) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		t := newTable(from)
		var waiting queue
		var newest time.Time
		for {
			row, err := t.next()
			if err == io.EOF {
				break
			}
			if err == nil && !newest.IsZero() && row.Time.Before(newest.Add(-slack)) {
				err = fmt.Errorf("line %d: %s is %s before a row above, more than the %s that are allowed: sort the file by time, or allow more",
					row.line, stamp(row.Time), newest.Sub(row.Time), slack)
			}
			if err != nil {
				yield(Row{}, err)
				return
			}
			if row.Time.After(newest) {
				newest = row.Time
			}
			heap.Push(&waiting, row)
			for len(waiting) > 0 && waiting[0].Time.Before(newest.Add(-slack)) {
				if !yield(heap.Pop(&waiting).(numbered).Row, nil) {
					return
				}
			}
		}
		for len(waiting) > 0 {
			if !yield(heap.Pop(&waiting).(numbered).Row, nil) {
				return
			}
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// numbered is a row and its line.
type numbered struct {
	Row
	line int
}

// queue is rows by time, then by line.
type queue []numbered

func (q queue) Len() int           { return len(q) }
func (q queue) Less(a, b int) bool { return q[a].compare(q[b]) < 0 }
func (q queue) Swap(a, b int)      { q[a], q[b] = q[b], q[a] }
func (q *queue) Push(x any)        { *q = append(*q, x.(numbered)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	row := (*q)[last]
	(*q)[last] = numbered{}
	*q = (*q)[:last]
	return row
}

func (n numbered) compare(o numbered) int {
	return cmp.Or(n.Time.Compare(o.Time), cmp.Compare(n.line, o.line))
}

// names are the columns.
var names = [...]string{"time", "key", "count"}

// table reads a CSV file's rows.
type table struct {
	csv     *csv.Reader
	columns [len(names)]int // where each of names is
	wide    int             // how many columns there are
	started bool
	keys    map[string]string // so that a key is kept once, not once a row
}

func newTable(from io.Reader) *table {
	buffered := bufio.NewReader(from)
	if mark, _ := buffered.Peek(3); string(mark) == "\ufeff" {
		buffered.Discard(3) //nolint:errcheck // they were just seen
	}
	t := &table{csv: csv.NewReader(buffered), columns: [...]int{0, 1, 2}, wide: 3, keys: map[string]string{}}
	t.csv.FieldsPerRecord = -1
	t.csv.ReuseRecord = true
	return t
}

// next is the next row; io.EOF after the last.
func (t *table) next() (numbered, error) {
	for {
		fields, err := t.csv.Read()
		if err != nil {
			var syntax *csv.ParseError
			if errors.As(err, &syntax) {
				return numbered{}, fmt.Errorf("line %d: %w: put a key with commas or quotes in it in quotes, and double its quotes", syntax.Line, syntax.Err)
			}
			return numbered{}, err
		}
		line, _ := t.csv.FieldPos(0)
		head := !t.started && named(fields)
		t.started = true
		if head {
			if err := t.header(fields, line); err != nil {
				return numbered{}, err
			}
			continue
		}
		row, err := t.row(fields)
		if err != nil {
			return numbered{}, fmt.Errorf("line %d: %w", line, err)
		}
		return numbered{row, line}, nil
	}
}

// named reports whether the fields are names of columns.
func named(fields []string) bool {
	for _, field := range fields {
		if strings.EqualFold(strings.TrimSpace(field), names[0]) {
			return true
		}
	}
	return false
}

func (t *table) header(fields []string, line int) error {
	t.wide = len(fields)
	for i, name := range names {
		t.columns[i] = -1
		for at, field := range fields {
			if strings.EqualFold(strings.TrimSpace(field), name) {
				t.columns[i] = at
				break
			}
		}
		if t.columns[i] < 0 {
			return fmt.Errorf("line %d: there is no column %q: name the columns time,key,count", line, name)
		}
	}
	return nil
}

func (t *table) row(fields []string) (Row, error) {
	if len(fields) != t.wide {
		return Row{}, fmt.Errorf("%d columns instead of %d: write time,key,count", len(fields), t.wide)
	}
	at, err := parseTime(strings.TrimSpace(fields[t.columns[0]]))
	if err != nil {
		return Row{}, err
	}
	key := fields[t.columns[1]]
	if key == "" {
		return Row{}, errors.New("the key is empty: name whose requests these are, if only by -")
	}
	kept, ok := t.keys[key]
	if !ok {
		kept = strings.Clone(key)
		t.keys[kept] = kept
	}
	text := strings.TrimSpace(fields[t.columns[2]])
	count, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return Row{}, fmt.Errorf("count %q is no whole number from 0 to %d", text, uint32(math.MaxUint32))
	}
	return Row{at, kept, uint32(count)}, nil
}

// parseTime reads RFC 3339 or seconds since 1970.
func parseTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(seconds) {
			return at, fmt.Errorf("time %q is neither RFC 3339, such as 2026-11-23T14:00:00Z, nor seconds since 1970", text)
		}
		if seconds > maxSecond || seconds < 0 {
			return at, fmt.Errorf("time %q is before 1970 or after 9999: give seconds, not milliseconds", text)
		}
		whole, part := math.Modf(seconds)
		return time.Unix(int64(whole), int64(part*1e9)).UTC(), nil
	}
	if at.Unix() < 0 || at.Unix() > maxSecond {
		return at, fmt.Errorf("time %q is before 1970 or after 9999", text)
	}
	return at.UTC(), nil
}
