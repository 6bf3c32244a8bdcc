package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/haptrail/haptrail/schema"
)

// Bursts is how identities, endpoints and addresses are watched for doing far more
// than they are used to: in HAProxy's stick tables within seconds, and in the logs.
type Bursts struct {
	// Off looks for no bursts at all, and reads no stick tables. Default false.
	Off bool `yaml:"off"`
	// Budget is the one knob: how many false alarms an identity may cause a day, all
	// measures together. Default 0.01, one in a hundred days; above 0, up to 1. More
	// finds smaller bursts sooner, and people learn to look away.
	Budget float64 `yaml:"budget"`
	// Calibrate is when the thresholds are found anew on the history: a cron
	// expression, in this machine's local time, or @every DURATION. Default
	// "17 4 * * *", every night, as it reads the whole history; "off" leaves it at the
	// built-in thresholds, which were found for 0.01 on made-up traffic, and Budget
	// then says nothing.
	Calibrate string `yaml:"calibrate"`
	// History is how far back calibration looks, and for how long samples of stick
	// tables are kept in full; after that they are kept by the minute, for 90 days.
	// Default 14d; whole days, 9d to 90d: of each key a week is learned from before its
	// alarms count. More costs disk and time.
	History Duration `yaml:"history"`
	// MaxKeys is how many identities (endpoints, addresses) are watched for each
	// measure, 512 bytes each; those that are silent the longest are forgotten first.
	// Default 100000; 1 to 10000000. One that comes back has everything to learn.
	MaxKeys int `yaml:"max_keys"`
	// Interval is from one poll of a stick table to the next one. Default 2s; 200ms to
	// 5m. Longer finds bursts later: one shorter than it may be seen only as part of a
	// longer count.
	Interval Duration `yaml:"interval"`
	// Load is the share of its time that HAProxy may spend on the dumps of one table:
	// a table that costs more is polled less often. Default 0.2; above 0, up to 1.
	// Beyond a half a large table can slow requests down.
	Load float64 `yaml:"load"`
	// Proxies are the HAProxys whose stick tables are read. Default: those of
	// edge.sockets, named haproxy-1, haproxy-2 and so on; [] reads none, also where
	// there is a gate. Without any, bursts are found in the logs alone, a second or two
	// later, and only of what is logged.
	Proxies []BurstProxy `yaml:"proxies"`
}

// BurstProxy is a HAProxy whose stick tables are read.
type BurstProxy struct {
	// Name is the proxy's in bursts, samples and metrics: letters, digits, "-", "_"
	// and ".". Unique. Renaming it begins its samples anew.
	Name string `yaml:"name"`
	// Socket is its stats socket of level operator, as unix:PATH or tcp:HOST:PORT;
	// over TCP there is no password: keep that to loopback. Needed.
	Socket string `yaml:"socket"`
	// Tables are read. Default those of the gate: haptrail_identity by issuer|subject,
	// and the errors (4xx) in haptrail_source by address: of whoever has no good token.
	Tables []BurstTable `yaml:"tables"`
	// Peers has HAProxy tell of each count at once, in the place of polls. Default:
	// polls only.
	Peers *BurstPeers `yaml:"peers"`
}

// BurstTable is a stick table that counts.
type BurstTable struct {
	// Name is the table's as "show table" lists it: that of the frontend or backend
	// that declares it, or PEERS/TABLE. Needed.
	Name string `yaml:"name"`
	// Key is what its keys are: "issuer|subject" (the gate's haptrail_identity),
	// "subject", "issuer|subject|group" (haptrail_group), "address" (haptrail_source)
	// or "other". Needed. A burst of another key is told without an identity, and so
	// without run and commit.
	Key string `yaml:"key"`
	// Counter is the data type whose growth is watched, one that only grows: a *_cnt,
	// or gpc0 and the like as "show table" prints them. Default http_req_cnt. The table
	// has to store it. An address's http_err_cnt is told as its errors, all else as
	// requests.
	Counter string `yaml:"counter"`
}

// BurstPeers is HAProxy's peers protocol: each entry that changes arrives a
// millisecond after the request, and no dump costs HAProxy anything. We are one more
// "peer" line in the peers section of its configuration. While it fails, the tables
// are polled.
type BurstPeers struct {
	// Address is where HAProxy listens for peers, as HOST:PORT: that of the "peer"
	// line with its own name. Needed. The protocol has no password: keep it to a
	// network of your own.
	Address string `yaml:"address"`
	// Local is what the peers section calls us. Needed. A name that is in use by
	// another would cut that one off.
	Local string `yaml:"local"`
	// Remote is what it calls HAProxy itself ("localpeer", by default its host's
	// name). Needed: HAProxy refuses who calls it by another.
	Remote string `yaml:"remote"`
}

// What the keys of a table are (BurstTable.Key).
const (
	KeyIdentity = "issuer|subject"
	KeySubject  = "subject"
	KeyGroup    = "issuer|subject|group"
	KeyAddress  = "address"
	KeyOther    = "other"
)

// stateFolder is where the daemon keeps what is not in tables of its own.
const stateFolder = "/var/lib/haptrail/state"

// StateDir is State, or its default: the folder state in that of an embedded
// engine, /var/lib/haptrail/state with a server.
func (c *Config) StateDir() string {
	if c.State != "" {
		return c.State
	}
	if dsn, err := schema.ParseDSN(c.DSN); err == nil && dsn.Dir != "" {
		return filepath.Join(dsn.Dir, "state")
	}
	return stateFolder
}

// BurstProxies are Bursts.Proxies with every default filled in; none of it is shared
// with the configuration.
func (c *Config) BurstProxies() []BurstProxy {
	proxies := slices.Clone(c.Bursts.Proxies)
	if proxies == nil && c.Edge != nil {
		for i, socket := range c.Edge.Sockets {
			proxies = append(proxies, BurstProxy{Name: fmt.Sprintf("haproxy-%d", i+1), Socket: socket})
		}
	}
	for i := range proxies {
		p := &proxies[i]
		if p.Tables = slices.Clone(p.Tables); len(p.Tables) == 0 {
			p.Tables = []BurstTable{{Name: "haptrail_identity", Key: KeyIdentity}, {Name: "haptrail_source", Key: KeyAddress, Counter: "http_err_cnt"}}
		}
		for j := range p.Tables {
			p.Tables[j].Counter = cmp.Or(p.Tables[j].Counter, "http_req_cnt")
		}
		if p.Peers != nil {
			peers := *p.Peers
			p.Peers = &peers
		}
	}
	return proxies
}
