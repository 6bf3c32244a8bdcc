package send

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/haptrail/haptrail/report/alert"
)

// The headers of a webhook.
const (
	// HeaderTimestamp has the seconds since 1970 at which it was signed.
	HeaderTimestamp = "Haptrail-Timestamp"
	// HeaderSignature has "v1=" and the HMAC-SHA256, in hex, over the timestamp, a
	// full stop and the body. Later versions may come beside it, parted by commas.
	HeaderSignature = "Haptrail-Signature"
	// HeaderDelivery has the same id whenever the same is told again.
	HeaderDelivery = "Haptrail-Delivery"
)

// Webhook posts the JSON that Alertmanager's webhooks have (version 4), so that what
// receives those receives ours, signed with a shared key: Verify checks it.
type Webhook struct {
	// URL takes the POSTs; any 2xx is a success.
	URL alert.Secret
	// Key signs them, with 16 bytes at least; nil: they are not signed.
	Key alert.Secret
	// HeartbeatURL takes the heartbeats, where they are for another service; nil: URL.
	HeartbeatURL alert.Secret
	// ExternalURL is where people find haptrail's dashboards; may be "".
	ExternalURL string
	HTTP        *http.Client // nil: net/http's default
}

// webhookBody is Alertmanager's webhook message (its documentation, webhook_config).
type webhookBody struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Status            string            `json:"status"` // firing if any alert is
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Alerts            []webhookAlert    `json:"alerts"`
}

// webhookAlert has an end always; zero while it fires, as Alertmanager's has.
type webhookAlert struct {
	wireAlert
	EndsAt time.Time `json:"endsAt"`
}

// Traits: it takes lists, at most one message a second, and is told of every change.
func (s *Webhook) Traits() alert.Traits {
	return alert.Traits{Batch: 1000, Updates: true, Heartbeats: true, Limit: alert.Limit{PerMinute: 62, Burst: 2}}
}

// Send posts one message.
func (s *Webhook) Send(ctx context.Context, m alert.Message) error {
	where := s.URL
	now := time.Now().UTC()
	alerts := wireAlerts(m.Notices)
	if m.Purpose == alert.Heartbeat {
		alerts = []wireAlert{heartbeat(m.Interval, now)}
		if s.HeartbeatURL != nil {
			where = s.HeartbeatURL
		}
	}
	target, err := read(where, "the webhook's URL")
	if err != nil {
		return err
	}
	body, err := json.Marshal(s.body(m.Channel, alerts))
	if err != nil {
		return fmt.Errorf("%w: %w", alert.ErrRefused, err)
	}
	c := call{client: s.HTTP, url: target, body: body, header: http.Header{HeaderDelivery: {m.ID}}}
	if s.Key != nil {
		key, err := read(s.Key, "the webhook's key")
		if err != nil {
			return err
		}
		if len(key) < 16 {
			return fmt.Errorf("%w: the webhook's key has %d bytes: 16 are needed at least", alert.ErrMisdirected, len(key))
		}
		timestamp := strconv.FormatInt(now.Unix(), 10)
		c.header[HeaderTimestamp] = []string{timestamp}
		c.header[HeaderSignature] = []string{"v1=" + Sign([]byte(key), timestamp, body)}
		c.secrets = append(c.secrets, key)
	}
	return c.post(ctx)
}

// body is the whole message.
func (s *Webhook) body(channel string, alerts []wireAlert) webhookBody {
	b := webhookBody{
		Version: "4", GroupKey: `{}:{source="haptrail"}`, Status: "resolved", Receiver: channel, ExternalURL: s.ExternalURL,
		GroupLabels: map[string]string{"source": "haptrail"}, Alerts: []webhookAlert{},
	}
	for i, a := range alerts {
		a.Fingerprint = fingerprint(a.Labels)
		if a.Status == "firing" {
			b.Status = "firing"
		}
		b.Alerts = append(b.Alerts, webhookAlert{wireAlert: a, EndsAt: a.EndsAt})
		if i == 0 {
			b.CommonLabels, b.CommonAnnotations = a.Labels, a.Annotations
		}
		b.CommonLabels, b.CommonAnnotations = common(b.CommonLabels, a.Labels), common(b.CommonAnnotations, a.Annotations)
	}
	return b
}

// common is what is in both.
func common(a, b map[string]string) map[string]string {
	both := make(map[string]string)
	for name, value := range a {
		if other, ok := b[name]; ok && other == value {
			both[name] = value
		}
	}
	return both
}

// Sign is the signature of a body: HMAC-SHA256 over the timestamp, a full stop and
// the body, in hex.
func Sign(key []byte, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// Verify checks what a webhook has brought: that it was signed with the key, no
// longer than tolerance (5 min is common) before or after now. A receiver that must
// not act twice remembers HeaderDelivery for that long.
func Verify(header http.Header, body, key []byte, now time.Time, tolerance time.Duration) error {
	timestamp := header.Get(HeaderTimestamp)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return fmt.Errorf("%s is missing, or no number", HeaderTimestamp)
	}
	if age := now.Sub(time.Unix(seconds, 0)); age.Abs() > tolerance {
		return fmt.Errorf("%s is %s away from our clock: an old message, or a wrong clock", HeaderTimestamp, age.Abs().Round(time.Second))
	}
	want := []byte(Sign(key, timestamp, body))
	for version := range strings.SplitSeq(header.Get(HeaderSignature), ",") {
		if have, ok := strings.CutPrefix(strings.TrimSpace(version), "v1="); ok && hmac.Equal([]byte(have), want) {
			return nil
		}
	}
	return errors.New(HeaderSignature + " does not fit the body: another key, or not from us")
}
