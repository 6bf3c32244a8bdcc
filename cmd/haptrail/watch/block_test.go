package watch_test

import (
	"cmp"
	"net/netip"
	"reflect"
	"time"

	"github.com/haptrail/haptrail/schema"
)

// block has n requests of a subject in the second before now.
func block(now time.Time, subject, run string, n int) *schema.RequestBlock {
	b := schema.NewRequestBlock()
	for range n {
		row(b, now.Add(-500*time.Millisecond), 200, map[string]string{
			"subject": subject, "issuer": "https://ci.example.test/space", "provider": "space", "project": "shop", "run": run, "commit": "c0ffee",
			"method": "GET", "endpoint": "/secrets/*", "decision": "allow", "role": "deployer",
		})
	}
	return b
}

// row adds a request; what is not named is empty.
func row(b *schema.RequestBlock, at time.Time, status int16, texts map[string]string) {
	v := reflect.ValueOf(b).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("col")
		if name == "" {
			continue
		}
		switch c := v.Field(i).Addr().Interface().(type) {
		case *schema.Int64:
			c.Append(map[bool]int64{true: at.UnixMicro(), false: 1000}[name == "time"])
		case *schema.Int32:
			c.Append(0)
		case *schema.Int16:
			c.Append(status)
		case *schema.Uint8:
			c.Append(0)
		case *schema.Uint16:
			c.Append(0)
		case *schema.Uint32:
			c.Append(uint32(at.Unix()))
		case *schema.Text:
			c.Append([]byte(texts[name]))
		case *schema.Dict:
			c.Append([]byte(texts[name]))
		case *schema.Map:
			c.EndRow()
		case *schema.Bytes16:
			if c == &b.ClientIP {
				address := netip.MustParseAddr(cmp.Or(texts["client_ip"], "192.0.2.9")).As16()
				c.Append(&address)
			}
		}
	}
	b.EndRow()
}
