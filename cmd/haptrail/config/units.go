package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/haptrail/haptrail/internal/strictyaml"
)

// Duration is a time.Duration that also knows days: 400d, 12h, 1s.
type Duration = strictyaml.Duration

// ParseDuration reads 90s, 1h30m, or days as in 400d.
func ParseDuration(s string) (time.Duration, error) { return strictyaml.ParseDuration(s) }

// Size is a number of bytes: 65536, 64KiB, 16MiB, 2GiB.
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}

// UnmarshalYAML reads a size.
func (s *Size) UnmarshalYAML(node ast.Node) error {
	v, err := parseSize(node.GetToken().Value)
	if err != nil {
		return strictyaml.At(node, err)
	}
	*s = v
	return nil
}

func parseSize(text string) (Size, error) {
	digits, unit := text, int64(1)
	for _, u := range sizeUnits {
		if d, ok := strings.CutSuffix(digits, u.suffix); ok {
			digits, unit = d, u.bytes
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, fmt.Errorf("%q is not a size: write it like 65536, 64KiB or 2GiB", text)
	}
	return Size(n * unit), nil
}
