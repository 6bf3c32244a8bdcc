package strictyaml

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Duration is a time.Duration that also knows days: 400d, 12h, 1s.
type Duration time.Duration

// UnmarshalYAML reads a duration.
func (d *Duration) UnmarshalYAML(node ast.Node) error {
	v, err := ParseDuration(node.GetToken().Value)
	if err != nil {
		return At(node, err)
	}
	*d = Duration(v)
	return nil
}

// String writes the duration as Go does.
func (d Duration) String() string { return time.Duration(d).String() }

// Seconds is the duration in whole seconds; a fraction is cut off.
func (d Duration) Seconds() int64 { return int64(time.Duration(d) / time.Second) }

// ParseDuration reads 90s, 1h30m, or days as in 400d.
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration: write it like 30s, 12h or 400d", s)
	}
	return d, nil
}
