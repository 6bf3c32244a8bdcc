package schema

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// FeedLogs is the feed of a burst that was found in the logs; the others are stick
// tables.
const FeedLogs = "logs"

// MeasureCallers is the measure of a burst of callers that a frontend denied something.
const MeasureCallers = "callers"

// BurstCounts is what a burst's key did in since <= time < until, whole seconds, in
// order of time: as the stick table counted it that the burst was found in, or, where
// there is nothing of it, as the logs did. Their requests are told apart by the
// subject, and not by its issuer. It is empty where nothing is kept of that time, or
// where the logs do not know the key.
func (s *Store) BurstCounts(ctx context.Context, b *BurstRow, since, until time.Time) (counts []Counted, err error) {
	keep := func(c *Counted) error {
		counts = append(counts, *c)
		return nil
	}
	from, to := clickhouse.Named("from", seconds(since)), clickhouse.Named("until", seconds(until))
	if b.Feed != FeedLogs {
		sql, err := queryText("burst_samples", nil, nil)
		if err != nil {
			return nil, err
		}
		err = eachRow(ctx, s, "stick_samples", sql, keep, from, to,
			clickhouse.Named("stick_table", b.Feed), clickhouse.Named("key", b.stickKey()))
		if err != nil || len(counts) > 0 {
			return counts, err
		}
	}
	if b.Measure == MeasureCallers {
		sql, err := queryText("burst_callers", nil, HistoryQuery{Callers: true})
		if err != nil {
			return nil, err
		}
		return counts, eachRow(ctx, s, "requests", sql, keep, from, to, clickhouse.Named("frontend", b.Key),
			clickhouse.Named("forgotten", strconv.Itoa(CallerForgotten)))
	}
	client := ""
	if b.Identity == "" {
		address, err := netip.ParseAddr(b.Key)
		if err != nil {
			return nil, nil
		}
		client = address.String()
	}
	sql, err := queryText("burst_requests", nil, b)
	if err != nil {
		return nil, err
	}
	return counts, eachRow(ctx, s, "requests", sql, keep, from, to, clickhouse.Named("identity", b.Identity),
		clickhouse.Named("client", client), clickhouse.Named("endpoint", b.Endpoint))
}

// stickKey is the key as its stick table has it: one of a kind that nobody knows is
// told with its table in front, one that is judged by itself at each proxy with the
// proxy behind.
func (b *BurstRow) stickKey() string {
	return strings.TrimSuffix(strings.TrimPrefix(b.Key, b.Feed+"|"), "@"+b.Proxy)
}
