package ci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/ingest/ci/citest"
)

func withSpaceKeys(c *SpaceConfig) { c.Webhooks = SpaceVerification{PublicKeys: true} }

// send signs a body as the fake does, lets it be changed, and delivers it.
func (b *spaceBed) send(t testing.TB, body []byte, change func(*Delivery)) ([]Fact, error) {
	t.Helper()
	header, err := b.fake.Sign(body, b.clock())
	if err != nil {
		t.Fatal(err)
	}
	d := Delivery{header, bytes.Clone(body), b.clock()}
	if change != nil {
		change(&d)
	}
	return b.space.Webhook(t.Context(), d)
}

func TestSpaceVerification(t *testing.T) {
	replace := func(name, value string) func(*Delivery) {
		return func(d *Delivery) { d.Header.Set(name, value) }
	}
	faults := map[string]func(*Delivery){
		"another body":       func(d *Delivery) { d.Body[len(d.Body)-1] ^= 1 },
		"a blank more":       func(d *Delivery) { d.Body = append(d.Body, ' ') },
		"no body":            func(d *Delivery) { d.Body = nil },
		"no timestamp":       func(d *Delivery) { d.Header.Del(spaceTimestampHeader) },
		"another timestamp":  replace(spaceTimestampHeader, fmt.Sprint(spaceEpoch.UnixMilli()+1)),
		"a word":             replace(spaceTimestampHeader, "now"),
		"a huge number":      replace(spaceTimestampHeader, strings.Repeat("9", 40)),
		"six minutes late":   func(d *Delivery) { d.Received = d.Received.Add(6 * time.Minute) },
		"six minutes early":  func(d *Delivery) { d.Received = d.Received.Add(-6 * time.Minute) },
		"two timestamps":     func(d *Delivery) { d.Header.Add(spaceTimestampHeader, "1") },
		"no header":          func(d *Delivery) { d.Header = nil },
		"no signature":       func(d *Delivery) { d.Header.Del(spaceHMACHeader); d.Header.Del(spaceRSAHeader) },
		"an empty signature": func(d *Delivery) { d.Header.Set(spaceHMACHeader, ""); d.Header.Set(spaceRSAHeader, "") },
		"half a signature": func(d *Delivery) {
			for _, name := range []string{spaceHMACHeader, spaceRSAHeader} {
				d.Header.Set(name, d.Header.Get(name)[:len(d.Header.Get(name))/8*4])
			}
		},
		"no encoding": func(d *Delivery) { d.Header.Set(spaceHMACHeader, "!!"); d.Header.Set(spaceRSAHeader, "!!") },
	}
	for way, change := range map[string]func(*SpaceConfig){"HMAC": nil, "public key": withSpaceKeys} {
		b := newSpaceBed(t, change)
		if err := b.fake.Rotate(); err != nil {
			t.Fatal(err)
		}
		body := b.fake.RunEvents(b.fake.Runs[1])[0]
		for _, late := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
			if facts, err := b.send(t, body, func(d *Delivery) { d.Received = d.Received.Add(late) }); err != nil || len(facts) != 1 {
				t.Errorf("%s, %v late: %v %v", way, late, facts, err)
			}
		}
		for name, fault := range faults {
			facts, err := b.send(t, body, fault)
			if !errors.Is(err, ErrUnverified) || facts != nil {
				t.Errorf("%s, %s: %v %v", way, name, facts, err)
			}
			if strings.Contains(fmt.Sprint(err), "run-1") || strings.Contains(fmt.Sprint(err), spaceTestKey) {
				t.Errorf("%s, %s: the error shows too much: %v", way, name, err)
			}
		}
	}
	b := newSpaceBed(t, func(c *SpaceConfig) { c.Webhooks.Window = time.Hour })
	if _, err := b.send(t, b.fake.Events()[0], func(d *Delivery) { d.Received = d.Received.Add(50 * time.Minute) }); err != nil {
		t.Errorf("a late retry within the window: %v", err)
	}
	b = newSpaceBed(t, func(c *SpaceConfig) { c.Webhooks = SpaceVerification{} })
	if _, err := b.send(t, b.fake.Events()[0], nil); !errors.Is(err, ErrUnverified) {
		t.Errorf("nothing is configured: %v", err)
	}
}

func TestSpaceAuthorizedWebhooks(t *testing.T) {
	for name, c := range map[string]struct {
		verify  SpaceVerification
		prepare func(*citest.Space)
	}{
		"bearer": {SpaceVerification{Bearer: SecretValue("b3arer")}, func(s *citest.Space) { s.Bearer = "b3arer" }},
		"basic": {SpaceVerification{BasicUser: "space", BasicPassword: SecretValue("p4ss:word")}, func(s *citest.Space) {
			s.BasicUser, s.BasicPassword = "space", "p4ss:word"
		}},
	} {
		b := newSpaceBed(t, func(config *SpaceConfig) { config.Webhooks = c.verify })
		c.prepare(b.fake)
		body := b.fake.Events()[0]
		if facts, err := b.send(t, body, nil); err != nil || len(facts) != 1 {
			t.Errorf("%s: %v %v", name, facts, err)
		}
		for _, wrong := range []string{"", "Bearer", "Bearer ", "Bearer b3are", "Bearer b3arer2", "Basic ", "Basic c3BhY2U6", "b3arer"} {
			_, err := b.send(t, body, func(d *Delivery) { d.Header["Authorization"] = []string{wrong} })
			if !errors.Is(err, ErrUnverified) || strings.Contains(err.Error(), "b3are") {
				t.Errorf("%s, %q: %v", name, wrong, err)
			}
		}
	}
}

// Keys are rotated without notice, and strangers must not make us ask for them.
func TestSpaceKeysAreRefetchedInBounds(t *testing.T) {
	b := newSpaceBed(t, withSpaceKeys)
	if err := b.fake.Rotate(); err != nil {
		t.Fatal(err)
	}
	body := b.fake.Events()[0]
	fetches := func(want int) {
		t.Helper()
		if n := len(b.fake.Requests("/public-keys")); n != want {
			t.Errorf("%d fetches, want %d", n, want)
		}
	}
	ok := func() {
		t.Helper()
		if _, err := b.send(t, body, nil); err != nil {
			t.Error(err)
		}
	}
	ok()
	ok()
	fetches(1)
	b.pass(time.Minute)
	for range 50 {
		if _, err := b.send(t, body, func(d *Delivery) { d.Body[0] = ' ' }); !errors.Is(err, ErrUnverified) {
			t.Error(err)
		}
	}
	fetches(2)
	b.pass(time.Minute)
	if err := b.fake.Rotate(); err != nil {
		t.Fatal(err)
	}
	ok() // by the new key, at once
	fetches(3)
	b.pass(time.Hour + time.Second)
	b.fake.Fail(citest.Fault{Path: "/public-keys", Status: 404})
	ok() // by the old ones, while the server is away
	fetches(4)
	b.pass(24 * time.Hour)
	_, err := b.send(t, body, nil)
	if err == nil || errors.Is(err, ErrUnverified) || !errors.Is(err, ErrNotFound) {
		t.Errorf("keys of yesterday, and no others to be had: %v", err)
	}
}

// An application that somebody else made on the server is not ours.
func TestSpaceForeignApplication(t *testing.T) {
	b := newSpaceBed(t, withSpaceKeys)
	if err := b.fake.Rotate(); err != nil {
		t.Fatal(err)
	}
	body := bytes.ReplaceAll(b.fake.Events()[0], []byte("haptrail-client"), []byte("mallory-client"))
	if facts, err := b.send(t, body, nil); !errors.Is(err, ErrUnverified) || facts != nil {
		t.Errorf("%v %v", facts, err)
	}
}

func TestSpaceKeySets(t *testing.T) {
	b := newSpaceBed(t, withSpaceKeys)
	if err := b.fake.Rotate(); err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodGet, "/api/http/applications/clientId:haptrail-client/public-keys", nil)
	request.Header.Set("Authorization", "Bearer permanent")
	request.Header.Set("Accept", "application/json")
	b.fake.PermanentToken = "permanent"
	answer := httptest.NewRecorder()
	b.fake.ServeHTTP(answer, request)
	twice := answer.Body.Bytes()
	var once string
	if err := json.Unmarshal(twice, &once); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(twice), once} {
		if keys, err := spaceKeySet([]byte(text)); err != nil || len(keys) != 1 {
			t.Errorf("%v %v", keys, err)
		}
	}
	for _, text := range []string{`""`, `"{}"`, `{"keys":[]}`, `null`, `[]`, `"\"x\""`, strings.ReplaceAll(once, `"use":"sig"`, `"use":"enc"`),
		`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`} {
		if keys, err := spaceKeySet([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v %v", text, keys, err)
		}
	}
}

// Another type is an error that names the field, and shows nothing of the value.
func TestSpaceWebhookMalformed(t *testing.T) {
	b := newSpaceBed(t, nil)
	event := func(fields string) string {
		return `{"payload":{"className":"AutomationJobEvent","executionId":"x","project":{"id":"p1"},` + fields + `}}`
	}
	for body, want := range map[string]string{
		"":                               "the body is empty",
		" \n":                            "the body is empty",
		"s3cret":                         "no JSON",
		`{"payload":{"a":1}`:             "no JSON",
		`{"clientSecret":"s3cret",}`:     "no JSON",
		`[1]`:                            "the whole is a list",
		`"s3cret"`:                       "the whole is text",
		`{"className":["s3cret"]}`:       "className is a list, where text belongs",
		`{"payload":"s3cret"}`:           "payload is text, where an object belongs",
		`{"payload":[]}`:                 "payload is a list",
		`{"payload":{"className":3333}}`: "className is a number",
		event(`"status":"s3cret"`):       "status is text, where an object belongs",
		event(`"status":{"new":3333}`):   "status.new is a number, where text belongs",
		event(`"startTime":{"new":{"timestamp":"s3cret"}}`):                     "startTime.new is text, where a time",
		event(`"startTime":{"new":{"iso":"s3cret"}}`):                           "startTime.new is text, where a time",
		event(`"triggerTime":1e300`):                                            "triggerTime is a number, where a time",
		event(`"triggerTime":-1`):                                               "triggerTime is a number, where a time",
		event(`"triggerTime":99999999999999999`):                                "triggerTime is a number, where a time",
		event(`"executionNumber":` + strings.Repeat("9", 1000)):                 "executionNumber is a number, where a whole number",
		event(`"executionNumber":1.5`):                                          "executionNumber is a number, where a whole number",
		event(`"repositories":[{"name":"a"},{"commit":{"a":1}}]`):               "repositories.commit is an object, where text",
		event(`"repositories":{}`):                                              "repositories is an object, where a list",
		event(`"repositories":[{"isDefault":"yes"}]`):                           "repositories.isDefault is text, where true or false",
		event(`"repositories":[` + strings.Repeat(`{},`, maxSpaceList) + `{}]`): "more than 10000 items",
		event(`"project":5`):                                                    "project is a number",
		event(`"meta":` + strings.Repeat("[", 20_000)):                          "no JSON",
		event(`"executionId":"a/b"`):                                            "executionId is not",
		event(`"executionId":"` + strings.Repeat("x", 1<<20) + `"`):             "executionId is not",
	} {
		facts, err := b.send(t, []byte(body), nil)
		if !errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnverified) || facts != nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%.200s: %v %v, want %s", body, facts, err, want)
		}
		if text := fmt.Sprint(err); strings.Contains(text, "s3cret") || strings.Contains(text, "3333") || len(text) > 300 {
			t.Errorf("%.200s: the error shows values: %.400s", body, text)
		}
	}
}

// Bodies made to be expensive. The receiver lets 25 MiB through: what these take is
// in proportion to their size.
func TestSpaceWebhookBombs(t *testing.T) {
	b := newSpaceBed(t, nil)
	const size = 4 << 20
	deep := strings.Repeat(`{"commit":`, 9_000)
	for name, body := range map[string]string{
		"nesting":        strings.Repeat("[", size),
		"deep commits":   `{"payload":{"className":"SRepoCommitsWebhookEvent","commit":` + deep + `1` + strings.Repeat("}", 9_000) + `}}`,
		"deep times":     `{"payload":{"className":"AutomationJobEvent","triggerTime":` + strings.ReplaceAll(deep, "commit", "time") + `1` + strings.Repeat("}", 9_000) + `}}`,
		"empty commits":  `{"payload":{"className":"SRepoPushWebhookEvent","commits":[` + strings.Repeat("{},", size/3) + `{}]}}`,
		"unknown fields": `{"payload":{"className":"AutomationJobEvent"` + strings.Repeat(`,"a":[[]]`, size/9) + `}}`,
		"a number":       `{"payload":{"className":"AutomationJobEvent","executionNumber":` + strings.Repeat("9", size) + `}}`,
		"errors":         `{"payload":{"className":"AutomationJobEvent","triggerTime":` + strings.Repeat(`{"$errors":`, 9_000) + "1" + strings.Repeat("}", 9_001) + `}`,
	} {
		start := time.Now()
		_, err := b.send(t, []byte(body), nil)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %v (%v)", name, took, err)
		}
		if err != nil && (!errors.Is(err, ErrMalformed) || len(err.Error()) > 300) {
			t.Errorf("%s: %.400v", name, err)
		}
	}
}

// The fake delivers over HTTP, and again when it is refused.
func TestSpaceSendsAgain(t *testing.T) {
	b := newSpaceBed(t, nil)
	b.fake.Skew = -time.Minute
	var told int
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		facts, err := b.space.Webhook(r.Context(), Delivery{r.Header, body, b.clock()})
		if told += len(facts); err != nil || told < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer receiver.Close()
	status, err := b.fake.Send(t.Context(), receiver.Client(), receiver.URL, b.fake.Events()[0])
	if err != nil || status != http.StatusOK || told != 3 {
		t.Errorf("%d %v after %d", status, err, told)
	}
}

// Whatever comes: no panic, no fact beside an error, and facts that name something.
func FuzzSpaceWebhook(f *testing.F) {
	world := spaceWorld()
	for _, body := range [][]byte{world.Events()[0], world.Events()[1], world.Events()[len(world.Events())-1]} {
		f.Add(body)
		f.Add(body[:len(body)/2])
	}
	for _, text := range []string{
		`{"className":"InitPayload","clientSecret":"s"}`, `{"payload":{"executionId":"x","project":{"key":"K"},"status":{"new":null}}}`,
		`{"payload":{"className":"SRepoHeadsWebhookEvent","changes":{"commits":["x",{"commit":null}]}}}`, `{"payload":{"commits":[{"$errors":[]}],"repository":{}}}`,
	} {
		f.Add([]byte(text))
	}
	s, err := NewSpace(SpaceConfig{ServerURL: "https://space.example.com"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		facts, err := s.read(body)
		if err != nil && (facts != nil || !errors.Is(err, ErrMalformed)) {
			t.Fatalf("%v beside %v", facts, err)
		}
		for _, fact := range facts {
			switch {
			case fact.Run != nil:
				if fact.Run.ID == "" || fact.Run.Project == "" || fact.Run.Merge(*fact.Run) != *fact.Run {
					t.Fatalf("%+v", *fact.Run)
				}
			case fact.Commit != nil:
				if !spaceHash.MatchString(fact.Commit.SHA) {
					t.Fatalf("%+v", *fact.Commit)
				}
			case fact.Principal == nil || fact.Principal.Subject == "":
				t.Fatal("a fact about nothing")
			}
		}
	})
}

func BenchmarkSpaceWebhook(b *testing.B) {
	for name, change := range map[string]func(*SpaceConfig){"hmac": nil, "public-key": withSpaceKeys} {
		b.Run(name, func(b *testing.B) {
			bed := newSpaceBed(b, change)
			if err := bed.fake.Rotate(); err != nil {
				b.Fatal(err)
			}
			body := bed.fake.Events()[0]
			header, err := bed.fake.Sign(body, bed.clock())
			if err != nil {
				b.Fatal(err)
			}
			d := Delivery{header, body, bed.clock()}
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := bed.space.Webhook(context.Background(), d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
