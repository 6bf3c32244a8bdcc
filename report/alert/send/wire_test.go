package send

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/haptrail/haptrail/report/alert"
)

// TestFormer: a severity that an alert had is an alert of its own on the wire, which
// ends when the severity did however often it is told, and not before its beginning.
func TestFormer(t *testing.T) {
	service := newService(t, 200, func(*http.Request, []byte) string { return "" })
	a := normalized(t, small("a"))
	ended := a.StartsAt.Add(time.Minute)
	over := a
	over.EndsAt = ended.Add(time.Hour)
	for _, n := range []alert.Notice{
		{State: alert.Updated, Alert: a, Former: []alert.Former{{Severity: alert.Low, EndsAt: ended}}},
		{State: alert.Repeated, Alert: a, Former: []alert.Former{{Severity: alert.Low, EndsAt: ended}}},
		{State: alert.Resolved, Alert: over, Former: []alert.Former{{Severity: alert.Low, EndsAt: ended}}},
		{State: alert.Updated, Alert: a, Former: []alert.Former{{Severity: alert.Low, EndsAt: a.StartsAt.Add(-time.Hour)}}}, // the clock went back
	} {
		if err := (&Alertmanager{URL: service.URL}).Send(t.Context(), alert.Message{Channel: "am", Notices: []alert.Notice{n}}); err != nil {
			t.Fatal(err)
		}
	}
	texts := service.texts()
	if len(texts) != 4 {
		t.Fatalf("%d messages", len(texts))
	}
	for i, text := range texts {
		var sent []wireAlert
		if err := json.Unmarshal([]byte(text), &sent); err != nil || len(sent) != 2 {
			t.Fatalf("%d: %v %s", i, err, text)
		}
		former, current := sent[0], sent[1]
		want := ended
		if i == 3 {
			want = a.StartsAt
		}
		if former.Labels["severity"] != "low" || !former.EndsAt.Equal(want) || current.Labels["severity"] != a.Severity.String() || current.EndsAt.IsZero() != (i != 2) {
			t.Errorf("%d: %s", i, text)
		}
		if delete(former.Labels, "severity"); fmt.Sprint(former.Labels, former.StartsAt) != fmt.Sprint(without(current.Labels), current.StartsAt) {
			t.Errorf("%d: another alert: %v and %v", i, former, current)
		}
	}
}

// without are the labels but the severity.
func without(labels map[string]string) map[string]string {
	delete(labels, "severity")
	return labels
}
