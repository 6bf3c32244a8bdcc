package peers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/runtimeapi"
)

// form is how a data type's value travels.
type form uint8

const (
	number32 form = iota // a varint, of 32 bits
	number64             // a varint
	rate                 // three varints: age of the period in ms, events in it, events in the one before
	word                 // a dictionary's entry: a length, then an index, and the first time the word
)

// dataType is what a bit of a table definition says.
type dataType struct {
	name  string
	kind  runtimeapi.DataKind
	form  form
	array bool
}

// dataTypes by their bit: HAProxy 2.4 to 3.4, src/stick_table.c,
// stktable_data_types. New ones come at the end.
func dataTypes() []dataType {
	counter := func(name string) dataType { return dataType{name: name, kind: runtimeapi.Counter} }
	rated := func(name string) dataType { return dataType{name: name, kind: runtimeapi.Rate, form: rate} }
	wide := func(name string) dataType {
		return dataType{name: name, kind: runtimeapi.Counter, form: number64}
	}
	return []dataType{
		{name: "server_id", kind: runtimeapi.Tag},
		{name: "gpt0", kind: runtimeapi.Tag},
		counter("gpc0"), rated("gpc0_rate"),
		counter("conn_cnt"), rated("conn_rate"),
		{name: "conn_cur", kind: runtimeapi.Gauge},
		counter("sess_cnt"), rated("sess_rate"),
		counter("http_req_cnt"), rated("http_req_rate"),
		counter("http_err_cnt"), rated("http_err_rate"),
		wide("bytes_in_cnt"), rated("bytes_in_rate"),
		wide("bytes_out_cnt"), rated("bytes_out_rate"),
		counter("gpc1"), rated("gpc1_rate"),
		{name: "server_key", kind: runtimeapi.Text, form: word},
		counter("http_fail_cnt"), rated("http_fail_rate"),
		{name: "gpt", kind: runtimeapi.Tag, array: true},
		{name: "gpc", kind: runtimeapi.Counter, array: true},
		{name: "gpc_rate", kind: runtimeapi.Rate, form: rate, array: true},
		counter("glitch_cnt"), rated("glitch_rate"),
	}
}

// Bounds of what HAProxy lets a configuration say.
const (
	maxElements = 100       // STKTABLE_MAX_DT_ARRAY_SIZE
	maxPeriod   = 1<<31 - 1 // milliseconds; its timers have 31 bits
)

// element is the name of an array's i-th one as "show table" prints it: gpc2,
// gpc2_rate.
func element(name string, i uint64) string {
	stem, rest, found := strings.Cut(name, "_")
	if found {
		rest = "_" + rest
	}
	return fmt.Sprintf("%s%d%s", stem, i, rest)
}

// field is one column of a table, and how to read it.
type field struct {
	runtimeapi.Column
	form form
	// counts is the index of the counter whose events a rate counts, too; -1 for none.
	counts int
}

// rateOf pairs each rate with its counter, where the table stores both. Those of
// bytes are left out: brates-factor may make them other units.
func rateOf(fields []field) {
	for i := range fields {
		fields[i].counts = -1
		stem, isRate := strings.CutSuffix(fields[i].Name, "_rate")
		if fields[i].Kind != runtimeapi.Rate || !isRate || strings.HasPrefix(stem, "bytes_") {
			continue
		}
		fields[i].counts = slices.IndexFunc(fields, func(f field) bool {
			return f.Kind == runtimeapi.Counter && (f.Name == stem || f.Name == stem+"_cnt")
		})
	}
}

// perPeriod is the value of a rate as HAProxy prints it (src/freq_ctr.c,
// freq_ctr_total, and read_freq_ctr_period): events of the last period, the former
// one's in the proportion that is still inside. HAProxy computes in 32 bits, and age
// is that of the period that curr counts.
func perPeriod(age, curr, prev, period uint32) uint64 {
	remain := int32(period - age)
	past, now := uint64(prev), uint64(curr)
	if remain < 0 { // that period is over
		remain += int32(period)
		past, now = now, 0
		if remain < 0 {
			past, remain = 0, 0
		}
	}
	if now == 0 && past <= 1 {
		return past // else a single event would fade to 0 at once
	}
	return uint64(uint32((past*uint64(remain) + now*uint64(period)) / uint64(period)))
}

// milliseconds is a period as the wire has it.
func milliseconds(d time.Duration) uint32 { return uint32(d.Milliseconds()) }
