package runtimeapi

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"strconv"
)

// Version is a version of HAProxy. The zero value is no version.
type Version struct {
	Major, Minor, Patch int
	// Suffix is the rest, such as "-1+deb12u4", "-dev9" or "-7832fb21f".
	Suffix string
}

var versionText = regexp.MustCompile(`^(?:HA-?Proxy version )?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,6}))?((?:[-+~][!-~]*)?)(?:[ \t\r\n]|$)`)

// ParseVersion reads a version from "3.0", "2.6.12-1+deb12u4", the field Version
// of "show info", or the first line of "haproxy -v".
func ParseVersion(text string) (Version, error) {
	m := versionText.FindStringSubmatch(text)
	if m == nil {
		return Version{}, fmt.Errorf("haproxy version %.60q: want MAJOR.MINOR[.PATCH][-SUFFIX], such as 2.6.12-1+deb12u4", text)
	}
	v := Version{Suffix: m[4]}
	// The pattern admits only short runs of digits, or none for the patch level.
	v.Major, _ = strconv.Atoi(m[1])
	v.Minor, _ = strconv.Atoi(m[2])
	v.Patch, _ = strconv.Atoi(m[3])
	return v, nil
}

// AtLeast is whether v belongs to the branch major.minor or a later one. A
// development version such as 3.3-dev9 counts as 3.3.
func (v Version) AtLeast(major, minor int) bool {
	return v.Compare(Version{Major: major, Minor: minor}) >= 0
}

// Compare is -1, 0 or +1 by the three numbers; suffixes do not count.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor), cmp.Compare(v.Patch, w.Patch))
}

// String is the version as HAProxy writes it.
func (v Version) String() string {
	return fmt.Sprintf("%d.%d.%d%s", v.Major, v.Minor, v.Patch, v.Suffix)
}

// Version asks which HAProxy is running ("show info"; level user).
func (c *Client) Version(ctx context.Context) (Version, error) {
	info, err := c.Info(ctx)
	return info.Version, err
}
