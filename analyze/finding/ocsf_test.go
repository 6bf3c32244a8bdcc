package finding

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/haptrail/haptrail/analyze/attribute"
)

// ocsfFields are the names that OCSF 1.7.0 has for what we write: of the class and
// of each object. Those it requires have a "!".
var ocsfFields = map[string]string{
	"":                       "activity_id! activity_name category_uid! category_name class_uid! class_name type_uid! type_name severity_id! severity status_id status time! start_time end_time count message is_alert metadata! finding_info! evidences resources remediation observables",
	"metadata":               "version! product! uid event_code correlation_uid profiles",
	"metadata.product":       "name vendor_name version",
	"finding_info":           "uid! title desc types analytic first_seen_time last_seen_time created_time modified_time",
	"finding_info.analytic":  "type_id! type name uid",
	"evidences":              "actor api src_endpoint dst_endpoint http_request data",
	"evidences.actor":        "user",
	"evidences.actor.user":   "uid type_id type credential_uid",
	"evidences.api":          "operation!",
	"evidences.src_endpoint": "name!", // one of several is required: the one that we have
	"evidences.dst_endpoint": "svc_name!",
	"evidences.http_request": "http_method url", "evidences.http_request.url": "path!",
	"resources":   "uid name! type role_id role",
	"remediation": "desc!",
	"observables": "name type_id! value",
}

// checkOCSF walks an event: no name that OCSF does not have, and none missing that
// it requires. data is the evidence as we have it.
func checkOCSF(t *testing.T, path string, value any) {
	t.Helper()
	switch v := value.(type) {
	case []any:
		for _, one := range v {
			checkOCSF(t, path, one)
		}
	case map[string]any:
		if path == "evidences.data" {
			return
		}
		names := strings.Fields(ocsfFields[path])
		for field, below := range v {
			if !slices.Contains(names, field) && !slices.Contains(names, field+"!") {
				t.Errorf("%s.%s is not OCSF's", path, field)
			}
			checkOCSF(t, strings.TrimPrefix(path+"."+field, "."), below)
		}
		for _, field := range names {
			if required, is := strings.CutSuffix(field, "!"); is && v[required] == nil {
				t.Errorf("%s.%s is missing", path, required)
			}
		}
	case nil:
		t.Errorf("%s is null", path)
	}
}

func TestOCSF(t *testing.T) {
	f := Look(Input{
		Uses: []Use{deploy(when(40, 47))},
		Runs: []attribute.Run{attempt(1, 0, 10)},
	}, Policy{})[0]
	told := Told{Version: "1.2.3", Found: minute(60)}
	for _, c := range []struct {
		name string
		told Told
		want map[string]any
	}{
		{"created", told, map[string]any{
			"activity_id": 1.0, "activity_name": "Create", "category_uid": 2.0, "class_uid": 2004.0, "type_uid": 200401.0, "severity_id": 4.0,
			"severity": "High", "status_id": 1.0, "time": float64(minute(60).UnixMilli()), "start_time": float64(minute(40).UnixMilli()),
			"end_time": float64(minute(47).UnixMilli()), "count": 12.0, "message": f.Text, "remediation.desc": f.Action, "metadata.version": "1.7.0",
			"metadata.product.name": "haptrail", "metadata.product.version": "1.2.3", "metadata.correlation_uid": f.Key, "finding_info.uid": f.Key,
			"finding_info.title": f.Title, "finding_info.types.0": "token_after_run", "finding_info.first_seen_time": float64(minute(40).UnixMilli()),
			"finding_info.last_seen_time": float64(minute(47).UnixMilli()), "finding_info.created_time": float64(minute(60).UnixMilli()),
			"finding_info.modified_time": float64(minute(60).UnixMilli()), "evidences.0.actor.user.uid": "repo:shop", "evidences.0.actor.user.credential_uid": "t1",
			"evidences.0.http_request.http_method": "POST", "evidences.0.http_request.url.path": "/deployments/{n}", "evidences.0.src_endpoint.name": "10.2.3.0/24",
			"evidences.0.dst_endpoint.svc_name": "prod", "evidences.0.data.grade": "proven", "resources.0.name": "prod", "resources.2.name": "shop/r1",
			"resources.3.uid": "c0ffee01", "observables.0.value": "repo:shop",
		}},
		{"updated", Told{Found: minute(60), Updated: minute(61)}, map[string]any{
			"activity_id": 2.0, "type_uid": 200402.0, "time": float64(minute(61).UnixMilli()), "finding_info.created_time": float64(minute(60).UnixMilli()),
			"finding_info.modified_time": float64(minute(61).UnixMilli()),
		}},
		{"told by nobody knows when", Told{}, map[string]any{"activity_id": 1.0, "time": float64(minute(47).UnixMilli())}},
	} {
		event := asJSON(t, f.OCSF(c.told))
		checkOCSF(t, "", event)
		for path, want := range c.want {
			if have := at(event, path); !reflect.DeepEqual(have, want) {
				t.Errorf("%s: %s is %v, want %v", c.name, path, have, want)
			}
		}
	}
	created, updated := f.OCSF(told), f.OCSF(Told{Found: minute(60), Updated: minute(61)})
	if created.Metadata.UID == updated.Metadata.UID || created.FindingInfo.UID != updated.FindingInfo.UID {
		t.Error("an update is an event of its own, of the same finding")
	}
}

// TestOCSFOfAnything: whatever is missing in a finding, its event is OCSF.
func TestOCSFOfAnything(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range 200 {
		h := randomHistory(rng)
		for _, f := range Look(h.window(noon, noon.Add(2*day)), h.policy) {
			checkOCSF(t, "", asJSON(t, f.OCSF(Told{Found: time.Now()})))
		}
		if t.Failed() {
			return
		}
	}
	checkOCSF(t, "", asJSON(t, Finding{Severity: Low, Kind: "x", Key: "k"}.OCSF(Told{})))
}

func asJSON(t *testing.T, v any) (out any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// at finds a value by its path, in which a number stands for a place in a list.
func at(value any, path string) any {
	for _, step := range strings.Split(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[step]
		case []any:
			if i := int(step[0] - '0'); i < len(v) {
				value = v[i]
			} else {
				return nil
			}
		}
	}
	return value
}
