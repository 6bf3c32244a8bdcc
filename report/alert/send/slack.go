package send

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"time"

	"github.com/haptrail/haptrail/report/alert"
)

// Slack posts to a channel of Slack by an incoming webhook. Up to three alerts are
// shown in full; more become a digest with counts and the worst ten. A resolved one
// is a message of its own: a webhook cannot change what it has posted.
//
// Texts go out as plain_text, which obeys no markup, with & < > escaped: an endpoint
// that a client made up cannot call @channel or hide a link.
type Slack struct {
	// URL is the incoming webhook's: whoever has it can post.
	URL  alert.Secret
	HTTP *http.Client // nil: net/http's default
}

// The bounds of a message: Slack's Block Kit reference, per block; characters.
const (
	slackHeader  = 150
	slackSection = 3000
	slackField   = 2000
	slackFields  = 10
	slackText    = 4000 // the fallback, in a notification; Slack's own bound is 40,000
)

// inFull is how many alerts of a message are shown in full; of a digest, shownOf
// are named.
const (
	inFull  = 3
	shownOf = 10
)

// slackMessage is what the webhook takes; Text is for notifications.
type slackMessage struct {
	Text   string       `json:"text"`
	Blocks []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type   string        `json:"type"` // header, section or divider
	Text   *slackPhrase  `json:"text,omitempty"`
	Fields []slackPhrase `json:"fields,omitempty"`
}

type slackPhrase struct {
	Type     string `json:"type"` // plain_text or mrkdwn
	Text     string `json:"text"`
	Emoji    *bool  `json:"emoji,omitempty"`    // plain_text only: false keeps ":x:" as it is
	Verbatim bool   `json:"verbatim,omitempty"` // mrkdwn only: no links but those marked
}

// Traits: people read it: few messages, each with all that came meanwhile, and at
// most one a second, as Slack wants it. It forgets nothing, and is told of no change
// but a rise of the severity.
func (s *Slack) Traits() alert.Traits {
	return alert.Traits{Batch: 1000, Limit: alert.Limit{PerMinute: 5, Burst: 2, Gap: time.Second}}
}

// Send posts one message.
func (s *Slack) Send(ctx context.Context, m alert.Message) error {
	target, err := read(s.URL, "Slack's webhook URL")
	if err != nil {
		return err
	}
	body, err := json.Marshal(slackPost(m.Notices))
	if err != nil {
		return fmt.Errorf("%w: %w", alert.ErrRefused, err)
	}
	return call{client: s.HTTP, url: target, body: body}.post(ctx)
}

// slackPost is the message of notices.
func slackPost(notices []alert.Notice) slackMessage {
	if len(notices) > inFull {
		return slackDigest(notices)
	}
	var message slackMessage
	var titles []string
	for i, n := range notices {
		if i > 0 {
			message.Blocks = append(message.Blocks, slackBlock{Type: "divider"})
		}
		titles = append(titles, headline(n))
		message.Blocks = append(message.Blocks, slackAlert(n)...)
	}
	message.Text = escape(strings.Join(titles, "\n"), slackText)
	return message
}

// slackAlert is one alert in full: at most six blocks.
func slackAlert(n alert.Notice) []slackBlock {
	a := &n.Alert
	blocks := []slackBlock{{Type: "header", Text: plain(headline(n), slackHeader)}}
	if text := strings.TrimSpace(a.Text + "\n" + note(n)); text != "" {
		blocks = append(blocks, slackBlock{Type: "section", Text: plain(text, slackSection)})
	}
	if fields := slackTable(a); len(fields) > 0 {
		blocks = append(blocks, slackBlock{Type: "section", Fields: fields})
	}
	if n.State == alert.Resolved && !n.Missed {
		return blocks // what led to it stands above
	}
	if rows := evidence(a, 5); rows != "" {
		blocks = append(blocks, slackBlock{Type: "section", Text: plain(rows, slackSection)})
	}
	if a.Command != "" {
		blocks = append(blocks, slackBlock{Type: "section", Text: plain("More: "+a.Command, slackSection)})
	}
	var links []string
	length := 0
	for _, link := range a.Links {
		// | ends the URL of a link; the others are escaped as everywhere
		address := strings.ReplaceAll(escape(link.URL, slackSection), "|", "%7C")
		text := "<" + address + "|" + strings.ReplaceAll(escape(cmp.Or(link.Text, link.URL), 300), "|", "/") + ">"
		if length += len(text) + 1; length > slackSection {
			break
		}
		links = append(links, text)
	}
	if len(links) > 0 {
		blocks = append(blocks, slackBlock{Type: "section", Text: &slackPhrase{Type: "mrkdwn", Text: strings.Join(links, " "), Verbatim: true}})
	}
	return blocks
}

// slackTable is whom and what it is about, and the numbers.
func slackTable(a *alert.Alert) []slackPhrase {
	var fields []slackPhrase
	add := func(name, value string) {
		if value != "" && len(fields) < slackFields {
			fields = append(fields, *plain(name+": "+value, slackField))
		}
	}
	add("identity", a.Identity)
	add("run", a.Run)
	add("commit", a.Commit)
	add("began", a.StartsAt.UTC().Format("2006-01-02 15:04:05Z"))
	if !a.EndsAt.IsZero() {
		add("ended", a.EndsAt.UTC().Format("2006-01-02 15:04:05Z"))
	}
	for _, name := range slices.Sorted(maps.Keys(a.Numbers)) {
		add(name, number(a.Numbers[name]))
	}
	return fields
}

// slackDigest is many alerts: the counts, and the worst by name.
func slackDigest(notices []alert.Notice) slackMessage {
	worst := slices.Clone(notices)
	slices.SortStableFunc(worst, func(a, b alert.Notice) int {
		// what goes on comes before what is over
		return cmp.Or(-cmp.Compare(boolInt(a.State.Firing()), boolInt(b.State.Firing())), cmp.Compare(b.Alert.Severity, a.Alert.Severity))
	})
	firing, identities := 0, make(map[string]bool)
	var lines strings.Builder
	for i, n := range worst {
		if n.State.Firing() {
			firing++
		}
		identities[n.Alert.Identity] = true
		if i < shownOf {
			fmt.Fprintln(&lines, alert.Cut(headline(n), 200))
		}
	}
	fmt.Fprintf(&lines, "and %d more", len(worst)-min(len(worst), shownOf))
	delete(identities, "")
	title := fmt.Sprintf("%d alerts: %d firing, %d over; %d identities", len(worst), firing, len(worst)-firing, len(identities))
	blocks := []slackBlock{
		{Type: "header", Text: plain(title, slackHeader)},
		{Type: "section", Text: plain(lines.String(), slackSection)},
	}
	if command := worst[0].Alert.Command; command != "" {
		blocks = append(blocks, slackBlock{Type: "section", Text: plain("More of the first: "+command, slackSection)})
	}
	return slackMessage{Text: escape(title, slackText), Blocks: blocks}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// headline is an alert on one line.
func headline(n alert.Notice) string {
	word := strings.ToUpper(n.Alert.Severity.String())
	switch {
	case n.Missed:
		word = "MISSED, OVER"
	case n.State == alert.Resolved:
		word = "OVER"
	}
	if n.Alert.Identity == "" || strings.Contains(n.Alert.Title, n.Alert.Identity) {
		return fmt.Sprintf("[%s] %s", word, n.Alert.Title)
	}
	return fmt.Sprintf("[%s] %s (%s)", word, n.Alert.Title, n.Alert.Identity)
}

// plain is a text without markup, escaped.
func plain(text string, limit int) *slackPhrase {
	return &slackPhrase{Type: "plain_text", Text: escape(text, limit), Emoji: new(bool)}
}

// escape makes & < > harmless ("Escaping text" of Slack's documentation) and cuts
// the result to so many bytes, never within an escape.
func escape(text string, limit int) string {
	const mark = "…"
	var escaped strings.Builder
	end := 0 // of what leaves room for the mark
	for _, r := range text {
		part := string(r)
		switch r {
		case '&':
			part = "&amp;"
		case '<':
			part = "&lt;"
		case '>':
			part = "&gt;"
		}
		if escaped.Len()+len(part) > limit {
			return escaped.String()[:end] + mark
		}
		escaped.WriteString(part)
		if escaped.Len()+len(mark) <= limit {
			end = escaped.Len()
		}
	}
	return escaped.String()
}
