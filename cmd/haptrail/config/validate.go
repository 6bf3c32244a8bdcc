package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/haptrail/haptrail/ingest/syslog"
	"github.com/haptrail/haptrail/internal/strictyaml"
	"github.com/haptrail/haptrail/runtimeapi"
	"github.com/haptrail/haptrail/schema"
)

// Validate checks each field by itself and against the others, without looking
// at the world: files and sockets are the business of haptrail check, but for a
// password_file in the DSN, without which there is no address to check. It
// reports all faults at once, and no password.
func (c *Config) Validate() error { return c.validate(nil) }

// validate names beside each field its place in the file, where there is one.
func (c *Config) validate(places strictyaml.Places) error {
	var faults []error
	fault := func(field, format string, args ...any) {
		text := field + ": " + fmt.Sprintf(format, args...)
		if place, ok := findPlace(places, field); ok {
			text = fmt.Sprintf("line %d, column %d: %s", place.Line, place.Column, text)
		}
		faults = append(faults, errors.New(text))
	}
	if _, err := schema.ParseDSN(c.DSN); err != nil {
		faults = append(faults, withoutPassword(err))
	}
	if _, err := time.LoadLocation(c.Zone); err != nil {
		fault("zone", "%q is no time zone: write an IANA name such as UTC or Europe/Berlin", c.Zone)
	}
	if c.Flush.Rows < 1 || c.Flush.Rows > 1_000_000 {
		fault("flush.rows", "%d must be 1 to 1000000", c.Flush.Rows)
	}
	if c.Flush.Bytes < 1<<16 {
		fault("flush.bytes", "%d must be at least 64KiB", c.Flush.Bytes)
	}
	if c.Flush.Age < Duration(10*time.Millisecond) {
		fault("flush.age", "%s must be at least 10ms", c.Flush.Age)
	}
	if c.Retention%Duration(24*time.Hour) != 0 {
		fault("retention", "%s must be whole days such as 400d, or 0 to keep everything", c.Retention)
	}
	if c.Shutdown < Duration(time.Second) {
		fault("shutdown", "%s must be at least 1s: what is not stored by then is lost", c.Shutdown)
	}
	if c.HTTP != "off" && !isAddress(c.HTTP) {
		fault("http", `%q must be an address such as 127.0.0.1:9595, or "off"`, c.HTTP)
	}
	c.validateLog(fault)
	c.validateEngine(fault)
	c.validateFormats(fault)
	c.validateEdge(fault)
	c.validateCI(fault)
	c.validateBursts(fault)
	c.validateAlerts(fault)
	for _, f := range c.Findings.Check() {
		fault("findings."+f.Field, "%v", f.Err)
	}
	return errors.Join(append(faults, c.validateListeners()...)...)
}

type faultFunc func(field, format string, args ...any)

// findPlace is where a field stands, or where what it should be in begins. One
// of a default, which the file does not say, has no place.
func findPlace(places strictyaml.Places, field string) (strictyaml.Place, bool) {
	section, _, _ := strings.Cut(field, ".")
	section, _, _ = strings.Cut(section, "[")
	return places.Find(field), places.Has(section)
}

// password is what a DSN may hold of one: the user's in front of the @, or a
// parameter.
var password = regexp.MustCompile(`(?i)(:(?://)?)[^\s"]*@|\b(password=)[^&\s"]*`)

// withoutPassword masks what may be a password in an error's text, however
// broken the DSN is in which it stands. The error's hint stays.
func withoutPassword(err error) error {
	text := password.ReplaceAllString(err.Error(), "$1$2…")
	if text == err.Error() {
		return err
	}
	return &masked{err, text}
}

type masked struct {
	error
	text string
}

// Error is the error's text without the password.
func (m *masked) Error() string { return m.text }

// Unwrap keeps the hint and the cause within reach.
func (m *masked) Unwrap() error { return m.error }

func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func (c *Config) validateLog(fault faultFunc) {
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		fault("log.level", "%q must be debug, info, warn or error", c.Log.Level)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		fault("log.format", "%q must be text or json", c.Log.Format)
	}
}

func (c *Config) validateEngine(fault faultFunc) {
	h := c.Engine.HTTP
	if h == nil {
		return
	}
	if address, err := netip.ParseAddrPort(h.Address); err != nil || !address.Addr().IsLoopback() {
		fault("engine.http.address", "%q must be a loopback address with port, such as 127.0.0.1:8123", h.Address)
	}
	if len(h.Users) == 0 {
		fault("engine.http.users", "is empty: without a user nobody could log in")
	}
	names := map[string]bool{}
	for i, u := range h.Users {
		field := fmt.Sprintf("engine.http.users[%d]", i)
		if u.Name == "" {
			fault(field+".name", "is missing")
		} else if names[u.Name] {
			fault(field+".name", "%q is used twice: a user has one password", u.Name)
		}
		names[u.Name] = true
		if (u.PasswordFile == "") == (u.PasswordEnv == "") {
			fault(field, "needs exactly one of password_file and password_env")
		}
	}
}

func (c *Config) validateEdge(fault faultFunc) {
	e := c.Edge
	if e == nil {
		return
	}
	if e.Policy == "" {
		fault("edge.policy", "is missing: name the policy file")
	}
	if e.Dir == "" {
		fault("edge.dir", "is missing: name the folder of the gate's files")
	}
	if e.HAProxy != "" && e.HAProxy != "auto" {
		if _, err := runtimeapi.ParseVersion(e.HAProxy); err != nil {
			fault("edge.haproxy", "%q is no version: write it like 2.6, or auto", e.HAProxy)
		}
	}
	if e.KeySchedule != "" {
		if _, err := cron.ParseStandard(e.KeySchedule); err != nil {
			fault("edge.key_schedule", "%q: %s: write @every 15m, or a cron expression like \"*/15 * * * *\"", e.KeySchedule, err)
		}
	}
	for i, socket := range e.Sockets {
		if _, err := runtimeapi.New(socket, runtimeapi.Options{}); err != nil {
			fault(fmt.Sprintf("edge.sockets[%d]", i), "%s", err)
		}
	}
	if e.Master != "" {
		if _, err := runtimeapi.NewMaster(e.Master, runtimeapi.Options{}); err != nil {
			fault("edge.master", "%s", err)
		}
	}
}

func (c *Config) validateFormats(fault faultFunc) {
	if len(c.Formats) == 0 {
		fault("formats", "is empty: leave it out for the built-in formats")
	}
	for i, f := range c.Formats {
		field := fmt.Sprintf("formats[%d]", i)
		if f.LogFormat != "" && f.HAProxyCfg != "" {
			fault(field, "log_format and haproxy_cfg exclude each other")
		}
		if f.LogFormat == "" && f.HAProxyCfg == "" && f.Name == "" {
			fault(field, "needs a name, log_format or haproxy_cfg")
		}
		if f.Frontend != "" && f.HAProxyCfg == "" {
			fault(field+".frontend", "needs haproxy_cfg")
		}
	}
}

func (c *Config) validateListeners() (faults []error) {
	names := map[string]bool{}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		sc, err := l.Syslog()
		if err == nil {
			err = sc.Validate()
		}
		if err == nil && !hasPort(l.Address) {
			err = fmt.Errorf("listener %q: address: %q needs a port of 0 to 65535, such as tcp://127.0.0.1:5514", l.Name, l.Address)
		}
		if err != nil {
			faults = append(faults, err)
		}
		if l.Name != "" && names[l.Name] {
			faults = append(faults, fmt.Errorf("listener %q: name: is used twice: give each listener its own", l.Name))
		}
		names[l.Name] = true
	}
	return faults
}

// hasPort tells whether an address names a port, which unix sockets have not.
func hasPort(address string) bool {
	scheme, target, _ := strings.Cut(address, "://")
	return scheme == "unix" || scheme == "unixgram" || isAddress(target)
}

// Syslog is the listener as package syslog takes it.
func (l *Listener) Syslog() (syslog.Config, error) {
	c := syslog.Config{
		Name: l.Name, Address: l.Address, Framing: l.Framing,
		MaxLine: int(l.MaxLine), MaxConnections: l.MaxConnections, BufferMemory: int64(l.BufferMemory),
		IdleTimeout: time.Duration(l.IdleTimeout), FrameTimeout: time.Duration(l.FrameTimeout),
		ReceiveBuffer: int(l.ReceiveBuffer),
		TLS:           syslog.TLSConfig{CertFile: l.TLS.Cert, KeyFile: l.TLS.Key, ClientCAFile: l.TLS.ClientCA, ClientAuth: l.TLS.ClientAuth},
	}
	for _, s := range l.AllowedPeers {
		network, err := netip.ParsePrefix(s)
		if err != nil {
			return c, fmt.Errorf("listener %q: allowed_peers: %q is no network: write it like 10.0.0.0/8 or 192.0.2.7/32", l.Name, s)
		}
		c.AllowedPeers = append(c.AllowedPeers, network)
	}
	if l.SocketMode != "" {
		mode, err := strconv.ParseUint(l.SocketMode, 8, 12)
		if err != nil {
			return c, fmt.Errorf("listener %q: socket_mode: %q is no octal mode: write it like \"0660\"", l.Name, l.SocketMode)
		}
		c.SocketMode = fs.FileMode(mode)
	}
	if l.HeaderZone != "" {
		zone, err := time.LoadLocation(l.HeaderZone)
		if err != nil {
			return c, fmt.Errorf("listener %q: header_zone: %q is no time zone", l.Name, l.HeaderZone)
		}
		c.Zone = zone
	}
	return c, nil
}

// Password is what the user's file or environment variable holds.
func (u *User) Password() (string, error) {
	if u.PasswordEnv != "" {
		password := os.Getenv(u.PasswordEnv)
		if password == "" {
			return "", fmt.Errorf("engine.http: user %q: the environment variable %s is empty", u.Name, u.PasswordEnv)
		}
		return password, nil
	}
	text, err := os.ReadFile(u.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("engine.http: user %q: %w", u.Name, err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("engine.http: user %q: %s is empty", u.Name, u.PasswordFile)
	}
	return password, nil
}
