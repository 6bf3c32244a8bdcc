package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/haptrail/haptrail/internal/strictyaml"
)

// faults collects what is wrong with a policy, so that who mends one fault need
// not find the next only then.
type faults struct {
	name   string // the file's
	places strictyaml.Places
	list   []fault
}

type fault struct {
	strictyaml.Place
	text string
}

// add notes a fault of a field; the text says what to write instead.
func (f *faults) add(field, format string, args ...any) {
	f.list = append(f.list, fault{f.places.Find(field), field + ": " + fmt.Sprintf(format, args...)})
}

// err is all faults in the order of the file, nil when there is none.
func (f *faults) err() error {
	slices.SortStableFunc(f.list, func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	errs := make([]error, len(f.list))
	for i, x := range f.list {
		errs[i] = fmt.Errorf("%s: line %d, column %d: %s", f.name, x.Line, x.Column, x.text)
	}
	return errors.Join(errs...)
}
