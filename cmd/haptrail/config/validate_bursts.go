package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/robfig/cron/v3"

	"github.com/haptrail/haptrail/runtimeapi"
)

const day = Duration(24 * time.Hour)

// The bounds of the section bursts.
const (
	leastHistory, mostHistory   = 9 * day, 90 * day
	leastInterval, mostInterval = Duration(200 * time.Millisecond), Duration(5 * time.Minute)
	mostKeys                    = 10_000_000
	maxPeerName                 = 255
)

// tableKeys are what a table's keys can be.
var tableKeys = []string{KeyIdentity, KeySubject, KeyGroup, KeyAddress, KeyOther}

// gpc is a general purpose counter, as "show table" prints it.
var gpc = regexp.MustCompile(`^gpc[0-9]{1,2}$`)

func (c *Config) validateBursts(fault faultFunc) {
	b := &c.Bursts
	// Written so that NaN, which YAML has, is refused as well.
	if !(b.Budget > 0 && b.Budget <= 1) {
		fault("bursts.budget", "%v must be above 0 and at most 1: it is false alarms for each identity and day, such as 0.01; to look for no bursts write off: true", b.Budget)
	}
	if b.Calibrate != "off" {
		if _, err := cron.ParseStandard(b.Calibrate); err != nil {
			fault("bursts.calibrate", "%q: %s: write a cron expression like \"17 4 * * *\", @every 24h, or off", b.Calibrate, err)
		}
	}
	if b.History%day != 0 || b.History < leastHistory || b.History > mostHistory {
		fault("bursts.history", "%s must be whole days, 9d to 90d: thresholds are found on a day behind a week of learning", b.History)
	}
	if b.MaxKeys < 1 || b.MaxKeys > mostKeys {
		fault("bursts.max_keys", "%d must be 1 to %d: each takes 512 bytes", b.MaxKeys, mostKeys)
	}
	if b.Interval < leastInterval || b.Interval > mostInterval {
		fault("bursts.interval", "%s must be 200ms to 5m", b.Interval)
	}
	if !(b.Load > 0 && b.Load <= 1) {
		fault("bursts.load", "%v must be above 0 and at most 1: it is a share of HAProxy's time, such as 0.2", b.Load)
	}
	names, sockets := map[string]bool{}, map[string]string{}
	for i := range b.Proxies {
		p := &b.Proxies[i]
		field := fmt.Sprintf("bursts.proxies[%d]", i)
		p.validate(func(key, format string, args ...any) { fault(field+"."+key, format, args...) })
		if p.Name != "" && names[p.Name] {
			fault(field+".name", "%q is used twice: bursts and samples name it: give each proxy its own", p.Name)
		}
		names[p.Name] = true
		socket := withKind(p.Socket)
		if other, ok := sockets[socket]; ok && p.Socket != "" {
			fault(field+".socket", "is that of %s, too: all that it counts would count twice", other)
		}
		sockets[socket] = field
	}
}

// withKind is a socket's address in its one form: /PATH is unix:/PATH.
func withKind(socket string) string {
	if strings.HasPrefix(socket, "/") {
		return "unix:" + socket
	}
	return socket
}

// validate checks a proxy by itself.
func (p *BurstProxy) validate(fault faultFunc) {
	switch {
	case p.Name == "":
		fault("name", "is missing: bursts and samples name the proxy by it")
	case !sourceName.MatchString(p.Name):
		fault("name", "%q must be at most 64 letters, digits, -, _ and ., the first a letter or digit", p.Name)
	}
	if p.Socket == "" {
		fault("socket", "is missing: write its stats socket, such as unix:/run/haproxy/haptrail.sock")
	} else if _, err := runtimeapi.New(p.Socket, runtimeapi.Options{}); err != nil {
		fault("socket", "%s", err)
	}
	names := map[string]bool{}
	for i := range p.Tables {
		t := &p.Tables[i]
		field := fmt.Sprintf("tables[%d]", i)
		t.validate(func(key, format string, args ...any) { fault(field+"."+key, format, args...) })
		if t.Name != "" && names[t.Name] {
			fault(field+".name", "%q is named twice: a table is read once, for one counter", t.Name)
		}
		names[t.Name] = true
	}
	if p.Peers != nil {
		p.Peers.validate(func(key, format string, args ...any) { fault("peers."+key, format, args...) })
	}
}

func (t *BurstTable) validate(fault faultFunc) {
	switch {
	case t.Name == "":
		fault("name", "is missing: \"show table\" on the stats socket lists the tables")
	case hasBlank(t.Name):
		fault("name", "%q has a blank in it, and no table's name has: \"show table\" on the stats socket lists them", t.Name)
	}
	if !slices.Contains(tableKeys, t.Key) {
		fault("key", "%q must be what the table's keys are: one of %s", t.Key, strings.Join(tableKeys, ", "))
	}
	_, known := runtimeapi.Store(t.Counter)
	grows := known && strings.HasSuffix(t.Counter, "_cnt") || gpc.MatchString(t.Counter)
	switch {
	case t.Counter == "" || grows:
	case known:
		fault("counter", "%q does not only grow: take a counter, such as %s", t.Counter, counterOf(t.Counter))
	default:
		fault("counter", "%q is no counter that HAProxy has: http_req_cnt, http_err_cnt, conn_cnt and gpc0 are some", t.Counter)
	}
}

// counterOf is the counter that a rate is one of, http_req_cnt for anything else.
func counterOf(data string) string {
	if _, ok := runtimeapi.Store(strings.TrimSuffix(data, "_rate") + "_cnt"); ok {
		return strings.TrimSuffix(data, "_rate") + "_cnt"
	}
	if base := strings.TrimSuffix(data, "_rate"); gpc.MatchString(base) {
		return base
	}
	return "http_req_cnt"
}

func (p *BurstPeers) validate(fault faultFunc) {
	if !isAddress(p.Address) || strings.HasPrefix(p.Address, ":") {
		fault("address", "%q must be where HAProxy listens for peers, HOST:PORT such as 127.0.0.1:10000", p.Address)
	}
	name := func(key, value, what string) {
		switch {
		case value == "":
			fault(key, "is missing: write %s", what)
		case hasBlank(value) || len(value) > maxPeerName:
			fault(key, "%.40q is no peer's name: one word of at most %d bytes", value, maxPeerName)
		}
	}
	name("local", p.Local, `the name that the "peer" line of HAProxy's peers section has for us`)
	name("remote", p.Remote, `HAProxy's own name in its peers section: its "localpeer", by default its host's name`)
	if p.Local != "" && p.Local == p.Remote {
		fault("local", "%q is HAProxy's own name, too: add a \"peer\" line for haptrail to its peers section", p.Local)
	}
}

// hasBlank reports whether a word has something in it that ends one, or that nobody
// sees.
func hasBlank(word string) bool {
	return strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar })
}
