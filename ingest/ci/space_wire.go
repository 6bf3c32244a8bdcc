package ci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// The JSON of Space's API and webhooks. Any value may be missing, null, or an
// object with "$errors" in its place, which is the server's way to say that we
// may not see it: all three mean "not said". Another type is ErrMalformed.

const (
	maxSpaceList   = 10_000 // items of one list: a body of 25 MiB could hold millions
	maxSpaceInline = 3      // inline errors that are told
	maxSpaceWord   = 200    // bytes of a text in an error
	spaceYear10000 = 253402300800000
)

// spaceText is a string.
type spaceText string

func (v *spaceText) UnmarshalJSON(b []byte) error {
	*v = ""
	if spaceUnsaid(b) {
		return nil
	}
	if b[0] != '"' {
		return spaceMistyped[spaceText](b)
	}
	return json.Unmarshal(b, (*string)(v))
}

// spaceNumber is a long; -1 where it is not said, for numbers count from 0.
type spaceNumber int64

func (v *spaceNumber) UnmarshalJSON(b []byte) error {
	*v = -1
	if spaceUnsaid(b) {
		return nil
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return spaceMistyped[spaceNumber](b)
	}
	*v = spaceNumber(n)
	return nil
}

// spaceFlag is a boolean.
type spaceFlag bool

func (v *spaceFlag) UnmarshalJSON(b []byte) error {
	*v = false
	if spaceUnsaid(b) {
		return nil
	}
	if s := string(b); s != "true" && s != "false" {
		return spaceMistyped[spaceFlag](b)
	}
	*v = b[0] == 't'
	return nil
}

// spaceTime is a DateTime {"iso":..., "timestamp": ms}, or bare milliseconds. The
// zero time is not said.
type spaceTime struct{ time.Time }

func (v *spaceTime) UnmarshalJSON(b []byte) error {
	v.Time = time.Time{}
	if spaceUnsaid(b) {
		return nil
	}
	if b[0] != '{' {
		return v.milliseconds(b)
	}
	var object struct {
		ISO       spaceText       `json:"iso"`
		Timestamp json.RawMessage `json:"timestamp"`
	}
	if err := json.Unmarshal(b, &object); err != nil {
		return err
	}
	switch {
	case len(object.Timestamp) > 0 && !spaceUnsaid(object.Timestamp):
		return v.milliseconds(object.Timestamp)
	case object.ISO != "":
		at, err := time.Parse(time.RFC3339, string(object.ISO))
		if err != nil || at.UnixMilli() < 0 || at.UnixMilli() >= spaceYear10000 {
			return spaceMistyped[spaceTime]([]byte(`""`))
		}
		v.Time = at.UTC().Truncate(time.Millisecond) // as timestamp has it
	}
	return nil
}

// spaceAccess is an AccessRecord {"time": DateTime, ...}, or a DateTime alone: what
// a permanent token's lastAccess is, is not documented.
type spaceAccess struct{ Time spaceTime }

func (v *spaceAccess) UnmarshalJSON(b []byte) error {
	v.Time = spaceTime{}
	if spaceUnsaid(b) || b[0] != '{' {
		return v.Time.UnmarshalJSON(b)
	}
	var record struct {
		Time *spaceTime `json:"time"`
	}
	if err := json.Unmarshal(b, &record); err != nil {
		return err
	}
	if record.Time == nil {
		return v.Time.UnmarshalJSON(b)
	}
	v.Time = *record.Time
	return nil
}

func (v *spaceTime) milliseconds(b []byte) error {
	ms, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || ms < 0 || ms >= spaceYear10000 {
		return spaceMistyped[spaceTime](b)
	}
	v.Time = time.UnixMilli(ms).UTC()
	return nil
}

// spaceList is an array of bounded length.
type spaceList[T any] []T

func (v *spaceList[T]) UnmarshalJSON(b []byte) error {
	*v = nil
	if spaceUnsaid(b) {
		return nil
	}
	if b[0] != '[' {
		return spaceMistyped[spaceList[T]](b)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		if len(*v) == maxSpaceList {
			return fmt.Errorf("a list of more than %d items", maxSpaceList)
		}
		var item T
		if err := d.Decode(&item); err != nil {
			return err
		}
		*v = append(*v, item)
	}
	return nil
}

// spaceChange is a Modification: what a value became. Unset: it did not change.
type spaceChange[T any] struct {
	New T `json:"new"`
}

// spaceBatch is a page of a list.
type spaceBatch[T any] struct {
	Next spaceText    `json:"next"`
	Data spaceList[T] `json:"data"`
}

// spaceKey is a project's key: {"key":"MYPROJ"}, or the text alone.
type spaceKey struct{ Key spaceText }

func (v *spaceKey) UnmarshalJSON(b []byte) error {
	if spaceUnsaid(b) || b[0] != '{' {
		return v.Key.UnmarshalJSON(b)
	}
	var object struct {
		Key spaceText `json:"key"`
	}
	err := json.Unmarshal(b, &object)
	v.Key = object.Key
	return err
}

// spaceProjectRef is a PRProject, as far as we need it.
type spaceProjectRef struct {
	ID  spaceText `json:"id"`
	Key spaceKey  `json:"key"`
}

// spaceUnsaid reports null, and an object that has errors for a value.
func spaceUnsaid(b []byte) bool {
	if string(b) == "null" {
		return true
	}
	if len(b) == 0 || b[0] != '{' || !bytes.Contains(b, []byte(`"$errors"`)) {
		return false
	}
	var object struct {
		Errors json.RawMessage `json:"$errors"`
	}
	return json.Unmarshal(b, &object) == nil && len(object.Errors) > 0
}

// spaceMistyped is the error of a value of another type. As an UnmarshalTypeError
// it gets the path of its field from encoding/json.
func spaceMistyped[T any](b []byte) error {
	return &json.UnmarshalTypeError{Value: spaceKind(b), Type: reflect.TypeFor[T]()}
}

// spaceKind is what a JSON value is, and nothing of what it says.
func spaceKind(b []byte) string {
	switch b[0] {
	case '"':
		return "text"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "true or false"
	}
	return "a number"
}

// spaceDecode reads JSON. Its errors are ErrMalformed with the field; they show
// nothing of the text, which may hold secrets.
func spaceDecode(text []byte, into any) error {
	err := json.Unmarshal(text, into)
	var mistyped *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mistyped):
		field := mistyped.Field
		if field == "" {
			field = "the whole"
		}
		return fmt.Errorf("%w: %s is %s, where %s belongs", ErrMalformed, field, spaceJSONName(mistyped.Value), spaceTypeName(mistyped.Type))
	case errors.As(err, &syntax):
		return fmt.Errorf("%w: no JSON after %d bytes", ErrMalformed, syntax.Offset)
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// spaceJSONName is what encoding/json calls a kind, without the number itself.
func spaceJSONName(value string) string {
	kind, _, _ := strings.Cut(value, " ")
	if name := map[string]string{"string": "text", "array": "a list", "object": "an object", "bool": "true or false", "number": "a number"}[kind]; name != "" {
		return name
	}
	return value // ours, by spaceKind
}

func spaceTypeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[spaceTime]():
		return "a time ({iso, timestamp} or milliseconds)"
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Int64:
		return "a whole number"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Slice:
		return "a list"
	}
	return "an object"
}

// spaceInline collects what an answer says in place of values; nil: nothing.
func spaceInline(raw []byte) error {
	if !bytes.Contains(raw, []byte(`"$errors"`)) {
		return nil
	}
	var tree any
	if json.Unmarshal(raw, &tree) != nil {
		return nil
	}
	var found []error
	var walk func(node any)
	walk = func(node any) {
		if list, ok := node.([]any); ok {
			for _, item := range list {
				walk(item)
			}
		}
		object, ok := node.(map[string]any)
		if !ok {
			return
		}
		said, _ := object["$errors"].([]any)
		for _, one := range said {
			if problem, ok := one.(map[string]any); ok && len(found) < maxSpaceInline {
				found = append(found, fmt.Errorf("the server says in place of a value: %.*q: %.*q", maxSpaceWord, problem["className"], maxSpaceWord, problem["message"]))
			}
		}
		for _, member := range object {
			walk(member)
		}
	}
	walk(tree)
	return errors.Join(found...)
}
