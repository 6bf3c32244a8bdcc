package burst_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/haptrail/haptrail/analyze/burst"
)

// read is a file's rows in short, "seconds key count", and its error.
func read(from io.Reader, slack time.Duration) (rows []string, err error) {
	for row, err := range burst.ReadCSV(from, slack) {
		if err != nil {
			return rows, err
		}
		rows = append(rows, fmt.Sprintf("%d %s %d", row.Time.Unix(), row.Key, row.Count))
	}
	return rows, nil
}

func TestReadCSV(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"only a header", "time,key,count\n", ""},
		{"seconds", "100,a,1\n101,a,2\n", "100 a 1|101 a 2"},
		{"fractions", "100.9,a,1\n1.01e2,a,2\n", "100 a 1|101 a 2"},
		{"RFC 3339", "1970-01-01T00:01:40Z,a,1\n1970-01-01T02:01:41.5+02:00,a,2\n", "100 a 1|101 a 2"},
		{"both, with a header", "Time,key,COUNT\n100,a,1\n1970-01-01T00:01:41Z,a,2\n", "100 a 1|101 a 2"},
		{"other columns in another order", "count,region,key,time\n7,eu,a,100\n", "100 a 7"},
		{"a byte order mark, CRLF, no last line feed", "\ufefftime,key,count\r\n100,a,1\r\n101,b,2", "100 a 1|101 b 2"},
		{"keys with everything", "100,\"a,\"\"b\"\"\nc\",1\n101, x ,2\n", "100 a,\"b\"\nc 1|101  x  2"},
		{"spaces around numbers", " 100 ,a, 1 \n", "100 a 1"},
		{"empty lines", "100,a,1\n\n\n101,a,2\n", "100 a 1|101 a 2"},
		{"a key named time", "100,a,1\n101,time,2\n", "100 a 1|101 time 2"},
		{"the largest", "253402300799,a,4294967295\n", "253402300799 a 4294967295"},
		{"out of order within the slack", "105,a,1\n100,b,2\n95,c,3\n111,d,4\n101,e,5\n", "95 c 3|100 b 2|101 e 5|105 a 1|111 d 4"},
		{"the same time, in the order of lines", "100,b,1\n100,a,2\n100,b,3\n", "100 b 1|100 a 2|100 b 3"},
	} {
		rows, err := read(iotest.OneByteReader(strings.NewReader(c.in)), 10*time.Second)
		if have := strings.Join(rows, "|"); err != nil || have != c.want {
			t.Errorf("%s: want %q, have %q, %v", c.name, c.want, have, err)
		}
	}
}

func TestReadCSVFaults(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"100,a\n", "line 1: 2 columns instead of 3: write time,key,count"},
		{"100,a,1\n101,a,1,5\n", "line 2: 4 columns instead of 3"},
		{"time,key,n\n", `line 1: there is no column "count": name the columns time,key,count`},
		{"time,key,count\n100,a,x\n", `line 2: count "x" is no whole number from 0 to 4294967295`},
		{"100,a,-1\n", `count "-1" is no whole number`},
		{"100,a,1.5\n", `count "1.5" is no whole number`},
		{"100,a,4294967296\n", `count "4294967296" is no whole number`},
		{"100,,1\n", "line 1: the key is empty"},
		{"yesterday,a,1\n", `line 1: time "yesterday" is neither RFC 3339`},
		{"nan,a,1\n", `time "nan" is neither RFC 3339`},
		{"2026-11-23 14:00:00,a,1\n", "is neither RFC 3339, such as 2026-11-23T14:00:00Z"},
		{"1767571200000,a,1\n", "give seconds, not milliseconds"},
		{"-5,a,1\n", "is before 1970"},
		{"1969-12-31T23:59:59Z,a,1\n", "is before 1970"},
		{"100,a,1\n100,\"a,1\n", "line 2: extraneous or missing"},
		{"100,a\"b,1\n", "line 1: bare \" in non-quoted-field: put a key"},
		{"100,\"a\nb\",1\n101,c,x\n", `line 3: count "x"`},
		{"100,a,1\n111,b,1\n100,c,1\n", "line 3: 1970-01-01T00:01:40Z is 11s before a row above, more than the 10s that are allowed: sort"},
	} {
		if _, err := read(strings.NewReader(c.in), 10*time.Second); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: want %q, have %v", c.in, c.want, err)
		}
	}
	broken := errors.New("the disk is gone")
	rows, err := read(io.MultiReader(strings.NewReader("100,a,1\n200,a,1\n300,a,1\n"), iotest.ErrReader(broken)), 10*time.Second)
	if !errors.Is(err, broken) || len(rows) != 2 {
		t.Errorf("want the reader's own error after two rows, have %v after %q", err, rows)
	}
}

// TestReadCSVStops: who has seen enough reads no more.
func TestReadCSVStops(t *testing.T) {
	for _, in := range []string{"100,a,1\n200,a,1\n300,a,1\n", "100,a,1\n"} {
		for range burst.ReadCSV(strings.NewReader(in), time.Second) {
			break
		}
	}
}

// TestReadCSVShuffled: rows that were shuffled within the slack come out as they were.
func TestReadCSVShuffled(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 1))
	for range 200 {
		type row struct{ at, shown, n int }
		var rows []row
		at := 1_000
		for n := range 100 {
			at += 1 + random.IntN(5)
			rows = append(rows, row{at, at + random.IntN(31), n})
		}
		var want []string
		for _, r := range rows {
			want = append(want, fmt.Sprintf("%d k %d", r.at, r.n))
		}
		slices.SortStableFunc(rows, func(a, b row) int { return a.shown - b.shown })
		var file bytes.Buffer
		for _, r := range rows {
			fmt.Fprintf(&file, "%d,k,%d\n", r.at, r.n)
		}
		if have, err := read(&file, 30*time.Second); err != nil || !slices.Equal(want, have) {
			t.Fatalf("want %v\nhave %v, %v", want, have, err)
		}
	}
}

// FuzzReadCSV: whatever comes in, rows come out in order, and written down they are
// read again as the same.
func FuzzReadCSV(f *testing.F) {
	for _, in := range []string{"time,key,count\n100,a,1\n", "100,\"a\"\"\",1\n99,b,2\n", "2026-11-23T14:00:00.5Z,k,4294967295\n", "count,key,time\n1,a,5e9\n", "\ufeff1,time,1\n"} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		rows, _ := collect(in)
		var file bytes.Buffer
		w := csv.NewWriter(&file)
		w.Write([]string{"time", "key", "count"})
		last := time.Time{}
		for _, row := range rows {
			if row.Time.Before(last) || row.Key == "" {
				t.Fatalf("%q: row %+v after %s", in, row, last)
			}
			last = row.Time
			// encoding/csv reads \r\n in quotes as \n: such a key was never read.
			w.Write([]string{row.Time.Format(time.RFC3339Nano), row.Key, strconv.FormatUint(uint64(row.Count), 10)})
		}
		w.Flush()
		again, err := collect(file.String())
		if err != nil || !slices.Equal(rows, again) {
			t.Fatalf("%q: read %v, again %v, %v", in, rows, again, err)
		}
	})
}

func collect(in string) (rows []burst.Row, err error) {
	for row, err := range burst.ReadCSV(strings.NewReader(in), 10*time.Second) {
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}
