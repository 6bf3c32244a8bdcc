package schema

import (
	"context"
	"encoding/binary"
	"net/netip"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Denial is that the gate denied a caller something at a frontend in a second.
type Denial struct {
	// Second since 1970 in which it was answered, by HAProxy's clock.
	Second int64
	// Frontend of whatever proxy; NoFrontend where the log does not say.
	Frontend string
	// The caller: the token's issuer and subject, as it was verified, or, of nobody's
	// requests, the client's address.
	Issuer, Subject string
	Client          netip.Addr
}

// NoFrontend stands for the frontend of requests whose log does not say which it was.
const NoFrontend = "-"

// CallerForgotten is after how many seconds without a denial a caller that is denied
// something counts anew.
const CallerForgotten = 300

// denialKey is what the rows of a Denial have in common.
type denialKey struct {
	second                    int64
	frontend, issuer, subject uint32
	client                    [16]byte
}

// Denials calls each with who was denied something in the block's rows, in their order,
// each caller once a second. Where nothing was denied it costs nothing, and else about
// a nanosecond for each row that was allowed; the texts stay valid after Reset.
func (b *RequestBlock) Denials(each func(*Denial)) {
	deny := b.Decision.find("deny")
	if deny == 0 {
		return
	}
	told := map[denialKey]bool{}
	for i := range b.rows {
		if b.Decision.at(i) != deny {
			continue
		}
		key := denialKey{second: b.answered(i), frontend: b.Frontend.at(i), issuer: b.Issuer.at(i), subject: b.Subject.at(i)}
		if key.subject == 0 {
			key.issuer = 0
			copy(key.client[:], b.ClientIP.buf[16*i:])
		}
		if told[key] {
			continue
		}
		told[key] = true
		d := Denial{Second: key.second, Frontend: b.Frontend.text(key.frontend), Issuer: b.Issuer.text(key.issuer), Subject: b.Subject.text(key.subject)}
		if d.Frontend == "" {
			d.Frontend = NoFrontend
		}
		if key.subject == 0 {
			d.Client = netip.AddrFrom16(key.client).Unmap()
		}
		each(&d)
	}
}

// answered is the second since 1970 in which a row's request was answered.
func (b *RequestBlock) answered(row int) int64 {
	micros := int64(binary.LittleEndian.Uint64(b.Time.buf[8*row:]))
	active := max(0, int64(int32(binary.LittleEndian.Uint32(b.ActiveMs.buf[4*row:]))))
	return (micros + 1000*active) / 1_000_000
}

// deniedCaller is a caller in the tables.
type deniedCaller struct {
	Frontend string     `ch:"frontend"`
	Issuer   string     `ch:"issuer"`
	Subject  string     `ch:"subject"`
	Client   netip.Addr `ch:"client"`
}

// DeniedLast calls each with the callers that were denied something in the last
// CallerForgotten seconds of denials that the tables know of since a time: who of them
// goes on is not new. Second is 0 in all of them. It stops at each's first error and
// returns it.
func (s *Store) DeniedLast(ctx context.Context, since time.Time, each func(*Denial) error) error {
	sql, err := queryText("denied_last", nil, nil)
	if err != nil {
		return err
	}
	return eachRow(ctx, s, "requests", sql, func(c *deniedCaller) error {
		d := Denial{Frontend: c.Frontend, Issuer: c.Issuer, Subject: c.Subject}
		if d.Subject == "" {
			d.Client = c.Client.Unmap()
		}
		return each(&d)
	}, clickhouse.Named("since", seconds(since)), clickhouse.Named("forgotten", strconv.Itoa(CallerForgotten)))
}

// DenialShare is a part of what was denied at a frontend: all of it, what was denied
// for one reason, or what was denied at one endpoint.
type DenialShare struct {
	Reason     string    `ch:"reason" json:"reason"`
	Method     string    `ch:"method" json:"method"`
	Endpoint   string    `ch:"endpoint" json:"endpoint"`
	Requests   uint64    `ch:"requests" json:"requests"`
	Addresses  uint64    `ch:"addresses" json:"addresses"`   // different ones of clients
	Identities uint64    `ch:"identities" json:"identities"` // different ones with a verified token
	First      time.Time `ch:"first" json:"first"`
	Last       time.Time `ch:"last" json:"last"`
}

// Denials are the parts of what was denied at a frontend in Since <= time < Until.
type Denials struct {
	All       DenialShare   `json:"all"`
	Reasons   []DenialShare `json:"reasons"`   // the most frequent ones first, at most limit
	Endpoints []DenialShare `json:"endpoints"` // likewise
}

// Denials sums up what was denied at a frontend (see NoFrontend) in since <= time <
// until, in at most limit reasons and as many endpoints.
func (s *Store) Denials(ctx context.Context, frontend string, since, until time.Time, limit uint64) (found Denials, err error) {
	if frontend == NoFrontend {
		frontend = ""
	}
	type share struct {
		Of string `ch:"of"`
		DenialShare
	}
	sql, err := queryText("denials", Columns[DenialShare](), nil)
	if err != nil {
		return found, err
	}
	err = eachRow(ctx, s, "requests", sql, func(row *share) error {
		switch row.Of {
		case "reason":
			found.Reasons = append(found.Reasons, row.DenialShare)
		case "endpoint":
			found.Endpoints = append(found.Endpoints, row.DenialShare)
		default:
			found.All = row.DenialShare
		}
		return nil
	}, clickhouse.Named("frontend", frontend), clickhouse.Named("limit", strconv.FormatUint(limit, 10)),
		clickhouse.Named("since", strconv.FormatInt(since.UnixMicro(), 10)), clickhouse.Named("until", strconv.FormatInt(until.UnixMicro(), 10)))
	return found, err
}
