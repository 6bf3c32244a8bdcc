// Package strictyaml reads the YAML files that people write for haptrail: an
// unknown key is an error with its place and the key that was probably meant.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// ErrEmpty is returned for a text that holds nothing but blanks and comments.
var ErrEmpty = errors.New("is empty: nothing but comments")

var errUnreadable = errors.New("this is not YAML that can be read: look for a stray *, &, ! or <<")

// byteOrderMark is what some editors write before the text.
var byteOrderMark = []byte("\ufeff")

// Decode reads the one document of text into the struct that v points to, whose
// values are the defaults of the outermost keys. An error names line and column
// and shows none of the lines around it, which may hold a password. After an
// error, ErrEmpty among them, what v points to is undefined.
func Decode(text []byte, v any) (err error) {
	// The YAML library panics on some broken texts; a fuzz test found them.
	defer func() {
		if p := recover(); p != nil {
			err = errUnreadable
		}
	}()
	d := yaml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, byteOrderMark)), yaml.Strict())
	err = d.Decode(v)
	if errors.Is(err, io.EOF) {
		return ErrEmpty
	}
	if err != nil {
		return explain(err, reflect.TypeOf(v))
	}
	var more any
	if err := d.Decode(&more); err == nil && more != nil {
		return errors.New("a second document follows (---): it would not be read: make it one")
	}
	return nil
}

// At says where in the file an error of an UnmarshalYAML is.
func At(node ast.Node, err error) error {
	return &yaml.SyntaxError{Message: err.Error(), Token: node.GetToken()}
}

// explain names an error's place, and the nearest of t's keys where one is not
// known.
func explain(err error, t reflect.Type) error {
	var placed yaml.Error
	if !errors.As(err, &placed) || placed.GetToken() == nil {
		return err
	}
	message := placed.GetMessage()
	var unknown *yaml.UnknownFieldError
	if errors.As(err, &unknown) {
		message = Unknown("key", unknown.Token.Value, Keys(t))
	}
	var mistyped *yaml.TypeError
	if errors.As(err, &mistyped) && mistyped.SrcType != nil && mistyped.DstType != nil {
		message = fmt.Sprintf("expected %s, not %s", kindName(mistyped.DstType), kindName(mistyped.SrcType))
	}
	p := placed.GetToken().Position
	return fmt.Errorf("line %d, column %d: %s", p.Line, p.Column, message)
}

// kindName is what a person calls a YAML value.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "keys and values"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	}
	return "a " + t.Kind().String()
}

// Keys lists all keys of a struct, or of what a pointer or list leads to, and of
// the structs in it. Fields that the file cannot set have none.
func Keys(t reflect.Type) (keys []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("yaml")
		if key == "-" || !t.Field(i).IsExported() {
			continue
		}
		keys = append(keys, key)
		keys = append(keys, Keys(t.Field(i).Type)...)
	}
	return keys
}
