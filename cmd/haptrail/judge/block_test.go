package judge

import (
	"net/netip"
	"reflect"
	"time"

	"github.com/haptrail/haptrail/schema"
)

// appendRequest appends a row whose columns are those of the request; what it does
// not say is empty.
func appendRequest(b *schema.RequestBlock, at time.Time, r request) {
	method := r.method
	if method == "" {
		method = "GET"
	}
	texts := map[string]string{
		"provider": r.provider, "subject": r.subject, "token_id": r.token, "project": r.project, "run": r.run,
		"claimed_run": r.claimed, "method": method, "path": r.path, "endpoint": r.path, "decision": "allow", "backend": "app",
	}
	client := [16]byte{}
	if r.client != "" {
		client = netip.MustParseAddr(r.client).As16()
	}
	v := reflect.ValueOf(b).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("col")
		if name == "" || name == "block" {
			continue
		}
		switch c := v.Field(i).Addr().Interface().(type) {
		case *schema.Int64:
			c.Append(map[bool]int64{true: at.UnixMicro()}[name == "time"])
		case *schema.Int32:
			c.Append(0)
		case *schema.Int16:
			c.Append(200)
		case *schema.Uint8:
			c.Append(0)
		case *schema.Uint16:
			c.Append(0)
		case *schema.Uint32:
			c.Append(map[bool]uint32{true: uint32(time.Now().Unix())}[name == "received"])
		case *schema.Text:
			c.Append([]byte(texts[name]))
		case *schema.Dict:
			c.Append([]byte(texts[name]))
		case *schema.Map:
			c.EndRow()
		case *schema.Bytes16:
			c.Append(&client)
		}
	}
	b.EndRow()
}
