package policy

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/haptrail/haptrail/internal/strictyaml"
)

// Rate is a number of requests in a time, written like 2000/10s.
type Rate struct {
	Requests int      // 1 to 1000000000
	Period   Duration // whole seconds, 1s to 1h
}

var (
	defaultRate = Rate{2000, Duration(10 * time.Second)}
	rateForm    = regexp.MustCompile(`\A([1-9][0-9]{0,9})/([0-9]+[smh])\z`)
)

// UnmarshalYAML reads a rate.
func (r *Rate) UnmarshalYAML(node ast.Node) error {
	text := node.GetToken().Value
	bad := fmt.Errorf("%q is not a rate: write requests and a time of 1s to 1h, like 2000/10s", text)
	m := rateForm.FindStringSubmatch(text)
	if m == nil {
		return strictyaml.At(node, bad)
	}
	n, err := strconv.Atoi(m[1])
	period, durationErr := strictyaml.ParseDuration(m[2])
	if err != nil || n > 1e9 || durationErr != nil || period < time.Second || period > time.Hour {
		return strictyaml.At(node, bad)
	}
	*r = Rate{n, Duration(period)}
	return nil
}

// String writes the rate as the file does.
func (r Rate) String() string { return fmt.Sprintf("%d/%s", r.Requests, r.period()) }

func (r Rate) period() string { return strconv.FormatInt(r.Period.Seconds(), 10) + "s" }

// Count is a number of things: 5000, or 100k and 1m as HAProxy counts, by 1024.
type Count int64

var countForm = regexp.MustCompile(`\A([1-9][0-9]{0,8})([km]?)\z`)

// UnmarshalYAML reads a count.
func (c *Count) UnmarshalYAML(node ast.Node) error {
	text := node.GetToken().Value
	m := countForm.FindStringSubmatch(text)
	if m == nil {
		return strictyaml.At(node, fmt.Errorf("%q is not a number of entries: write it like 5000, 100k or 1m", text))
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return strictyaml.At(node, err)
	}
	*c = Count(n * map[string]int64{"": 1, "k": 1 << 10, "m": 1 << 20}[m[2]])
	return nil
}

// Paths are claim paths in the order in which they are tried. In the file one
// path may stand alone.
type Paths []string

// UnmarshalYAML reads a path or a list of them.
func (p *Paths) UnmarshalYAML(unmarshal func(any) error) error {
	var one string
	if err := unmarshal(&one); err == nil {
		*p = Paths{one}
		return nil
	}
	var list []string
	if err := unmarshal(&list); err != nil {
		return err
	}
	*p = append(Paths{}, list...)
	return nil
}
