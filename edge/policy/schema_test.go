package policy

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/haptrail/haptrail/edge/provider"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("policy.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a YAML file as JSON's types.
func asJSON(t *testing.T, path string) (any, error) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	j, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(j))
}

// beyondSchema are faults that compare fields with each other, with providers or
// with a number's size, or that are none of JSON's: only Parse finds them.
var beyondSchema = strings.Fields(`
	duplicate-key second-document
	gate-log-port-too-great gate-claimed-run-header-removed gate-claimed-run-header-token gate-stick-size-small gate-stick-size-large gate-feed
	issuer-name-twice issuer-iss-twice issuer-no-issuer issuer-no-jwks jwks-user jwks-file-host
	max-age-fraction max-lifetime-long leeway-long claims-self-asserted
	role-twice rate-period-0 rate-period-long rate-huge rate-periods-differ
	selector-issuer selector-provider selector-backslash selector-line-long
	grant-role host-stars host-port host-ipv6 path-claim path-claim-runner path-claim-open path-claim-closed`)

// TestSchema: it takes what Parse takes, and finds what it can say.
func TestSchema(t *testing.T) {
	s := compileSchema(t)
	for _, path := range files(t, true) {
		v, err := asJSON(t, path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s loads, and the schema says %v", path, err)
		}
	}
	for _, path := range files(t, false) {
		beyond := slices.Contains(beyondSchema, strings.TrimSuffix(filepath.Base(path), ".yaml"))
		v, err := asJSON(t, path)
		if err == nil {
			err = s.Validate(v)
		}
		if err == nil && !beyond {
			t.Errorf("%s: the schema does not find the fault", path)
		}
		if err != nil && beyond && !strings.HasSuffix(path, "duplicate-key.yaml") {
			t.Errorf("%s: the schema finds the fault after all: take it off the list: %v", path, err)
		}
	}
}

// TestSchemaHasEveryField: its properties are the structs' keys, with a
// description each.
func TestSchemaHasEveryField(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(Schema, &root); err != nil {
		t.Fatal(err)
	}
	defs := root["$defs"].(map[string]any)
	n := sameFields(t, "", reflect.TypeFor[Policy](), root, defs)
	if n < 45 {
		t.Errorf("only %d fields compared", n)
	}
	issuer := defs["issuer"].(map[string]any)["properties"].(map[string]any)
	var names []string
	for _, name := range issuer["provider"].(map[string]any)["enum"].([]any) {
		names = append(names, name.(string))
	}
	if !slices.Equal(names, provider.Names()) {
		t.Errorf("providers: the schema has %v, package provider %v", names, provider.Names())
	}
	for pattern := range issuer["claims"].(map[string]any)["patternProperties"].(map[string]any) {
		var fields []string
		for _, f := range provider.Fields() {
			fields = append(fields, string(f))
		}
		if want := "^(" + strings.Join(fields, "|") + ")$"; pattern != want {
			t.Errorf("claims: have %s, want %s", pattern, want)
		}
	}
}

// sameFields compares a struct with an object of the schema, and what is in them.
func sameFields(t *testing.T, path string, typ reflect.Type, object, defs map[string]any) (n int) {
	properties, _ := object["properties"].(map[string]any)
	if object["additionalProperties"] != false {
		t.Errorf("%s: additionalProperties is not false", path)
	}
	seen := map[string]bool{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		key := f.Tag.Get("yaml")
		if !f.IsExported() || key == "-" {
			continue
		}
		if key == "" {
			t.Errorf("%s.%s has no yaml key", typ, f.Name)
		}
		n++
		seen[key] = true
		at := path + "." + key
		property, ok := properties[key].(map[string]any)
		if !ok {
			t.Errorf("%s is not in the schema", at)
			continue
		}
		if d, _ := property["description"].(string); d == "" {
			t.Errorf("%s has no description", at)
		}
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
			if items, ok := property["items"].(map[string]any); ok {
				property = items
			}
		}
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[Rate]() {
			n += sameFields(t, at, inner, resolve(t, property, defs), defs)
		}
	}
	for key := range properties {
		if !seen[key] {
			t.Errorf("%s.%s is in the schema, and no field", path, key)
		}
	}
	return n
}

func resolve(t *testing.T, object, defs map[string]any) map[string]any {
	t.Helper()
	ref, ok := object["$ref"].(string)
	if !ok {
		return object
	}
	target, ok := defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	if !ok {
		t.Fatalf("no %s in the schema", ref)
	}
	return target
}
