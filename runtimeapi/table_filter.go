package runtimeapi

import (
	"fmt"
	"strconv"
)

// Op compares a data type with a number.
type Op string

// The operators of HAProxy ("show table", management guide).
const (
	Equal          Op = "eq"
	NotEqual       Op = "ne"
	AtMost         Op = "le"
	AtLeast        Op = "ge"
	Less           Op = "lt"
	Greater        Op = "gt"
	maxConditions     = 4 // STKTABLE_FILTER_LEN
	filterDataWord    = "data."
)

// Condition is "data.X op N".
type Condition struct {
	// Data is the name of a data type that the table stores: http_req_rate. An
	// element of an array, such as gpc[2], is known from HAProxy 3.2 on.
	Data string
	Op   Op
	// Value in the unit of the data type: a rate's is events per its period.
	Value int64
}

// Filter chooses entries. The zero value takes all of them.
type Filter struct {
	// Where are at most four conditions, all of which must hold. HAProxy looks at
	// every entry and does not yield while none matches: with few matches among
	// 1.1 million entries one of its threads stood still for 0.58 s. A full dump
	// yields every 16 kB.
	Where []Condition
	// Key names a single entry; it excludes Where.
	Key Key
}

// data are the names that the filter uses, in its order.
func (f Filter) data() []string {
	names := make([]string, len(f.Where))
	for i, c := range f.Where {
		names[i] = c.Data
	}
	return names
}

// words are the filter in a command on a table whose keys are of that type.
func (f Filter) words(keys string) ([]string, error) {
	if f.Key != (Key{}) {
		if len(f.Where) > 0 {
			return nil, fmt.Errorf("table filter: %w: a key and conditions exclude each other", ErrInexpressible)
		}
		key, err := f.Key.in(keys)
		if err != nil {
			return nil, err
		}
		return []string{"key", key}, nil
	}
	if len(f.Where) > maxConditions {
		return nil, fmt.Errorf("table filter: %w: %d conditions, HAProxy takes at most %d", ErrInexpressible, len(f.Where), maxConditions)
	}
	var words []string
	for _, c := range f.Where {
		if err := checkData(c.Data); err != nil {
			return nil, err
		}
		switch c.Op {
		case Equal, NotEqual, AtMost, AtLeast, Less, Greater:
		default:
			return nil, fmt.Errorf("table filter: %w: operator %.20q on %s; it is one of eq, ne, le, ge, lt, gt", ErrInexpressible, c.Op, c.Data)
		}
		words = append(words, filterDataWord+c.Data, string(c.Op), strconv.FormatInt(c.Value, 10))
	}
	return words, nil
}
