package finding

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// OCSF names of the class Detection Finding, version 1.7.0 of the schema
// (events/findings/detection_finding.json).
const (
	ocsfVersion  = "1.7.0"
	ocsfCategory = 2
	ocsfClass    = 2004
)

// Told is what surrounds a finding when it is told to others.
type Told struct {
	Version string    // of haptrail
	Found   time.Time // when it was found first
	Updated time.Time // when it was found last; the zero time: once
}

// DetectionFinding is a finding as an OCSF Detection Finding. Only what is known is
// in it; the required fields always are.
type DetectionFinding struct {
	ActivityID   int            `json:"activity_id"`
	ActivityName string         `json:"activity_name"`
	CategoryUID  int            `json:"category_uid"`
	CategoryName string         `json:"category_name"`
	ClassUID     int            `json:"class_uid"`
	ClassName    string         `json:"class_name"`
	TypeUID      int            `json:"type_uid"`
	TypeName     string         `json:"type_name"`
	SeverityID   int            `json:"severity_id"`
	Severity     string         `json:"severity"`
	StatusID     int            `json:"status_id"`
	Status       string         `json:"status"`
	Time         int64          `json:"time"` // milliseconds since 1970, as all times
	StartTime    int64          `json:"start_time"`
	EndTime      int64          `json:"end_time"`
	Count        uint64         `json:"count,omitempty"`
	Message      string         `json:"message"`
	IsAlert      bool           `json:"is_alert"`
	Metadata     ocsfMetadata   `json:"metadata"`
	FindingInfo  ocsfInfo       `json:"finding_info"`
	Evidences    []ocsfEvidence `json:"evidences,omitempty"`
	Resources    []ocsfResource `json:"resources,omitempty"`
	Remediation  *ocsfText      `json:"remediation,omitempty"`
	Observables  []ocsfValue    `json:"observables,omitempty"`
}

type ocsfMetadata struct {
	Version       string      `json:"version"`
	Product       ocsfProduct `json:"product"`
	UID           string      `json:"uid"` // of this event; another one when it is updated
	EventCode     string      `json:"event_code"`
	CorrelationID string      `json:"correlation_uid"`
	Profiles      []string    `json:"profiles"`
}

type ocsfProduct struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
	Version    string `json:"version,omitempty"`
}

type ocsfInfo struct {
	UID       string       `json:"uid"`
	Title     string       `json:"title"`
	Desc      string       `json:"desc"`
	Types     []string     `json:"types"`
	Analytic  ocsfAnalytic `json:"analytic"`
	FirstSeen int64        `json:"first_seen_time"`
	LastSeen  int64        `json:"last_seen_time"`
	Created   int64        `json:"created_time"`
	Modified  int64        `json:"modified_time"`
}

type ocsfAnalytic struct {
	TypeID int    `json:"type_id"` // 1 Rule, 2 Behavioral
	Type   string `json:"type"`
	Name   string `json:"name"`
	UID    string `json:"uid"`
}

type ocsfEvidence struct {
	Actor       *ocsfActor       `json:"actor,omitempty"`
	API         *ocsfAPI         `json:"api,omitempty"`
	SrcEndpoint *ocsfEndpoint    `json:"src_endpoint,omitempty"`
	DstEndpoint *ocsfEndpoint    `json:"dst_endpoint,omitempty"`
	HTTPRequest *ocsfHTTPRequest `json:"http_request,omitempty"`
	Data        Evidence         `json:"data"`
}

type ocsfActor struct {
	User *ocsfUser `json:"user"`
}

type ocsfUser struct {
	UID        string `json:"uid"`
	TypeID     int    `json:"type_id"`
	Type       string `json:"type"`
	Credential string `json:"credential_uid,omitempty"` // the token's id, never the token
}

type ocsfAPI struct {
	Operation string `json:"operation"`
}

type ocsfEndpoint struct {
	Name    string `json:"name,omitempty"` // a network: no more of the client is kept
	SvcName string `json:"svc_name,omitempty"`
}

type ocsfHTTPRequest struct {
	Method string   `json:"http_method"`
	URL    *ocsfURL `json:"url,omitempty"`
}

type ocsfURL struct {
	Path string `json:"path"`
}

type ocsfResource struct {
	UID    string `json:"uid,omitempty"`
	Name   string `json:"name"`
	Type   string `json:"type"`
	RoleID int    `json:"role_id"` // 1 Target, 2 Actor, 4 Related
	Role   string `json:"role"`
}

type ocsfText struct {
	Desc string `json:"desc"`
}

type ocsfValue struct {
	Name   string `json:"name"`
	TypeID int    `json:"type_id"`
	Value  string `json:"value"`
}

// OCSF is the finding as a Detection Finding: created when it was found first,
// updated after that. Its finding_info.uid is the Key, its metadata.uid one for each
// update.
func (f Finding) OCSF(told Told) DetectionFinding {
	if told.Found.IsZero() {
		told.Found = f.Last
	}
	activity, activityName := 1, "Create"
	if told.Updated.After(told.Found) {
		activity, activityName = 2, "Update"
	} else {
		told.Updated = told.Found
	}
	return DetectionFinding{
		ActivityID: activity, ActivityName: activityName,
		CategoryUID: ocsfCategory, CategoryName: "Findings", ClassUID: ocsfClass, ClassName: "Detection Finding",
		TypeUID: ocsfClass*100 + activity, TypeName: "Detection Finding: " + activityName,
		SeverityID: int(f.Severity), Severity: capital(f.Severity.String()),
		StatusID: 1, Status: "New", // nobody reviews findings here
		Time: told.Updated.UnixMilli(), StartTime: f.First.UnixMilli(), EndTime: f.Last.UnixMilli(),
		Count: f.Requests, Message: f.Text, IsAlert: true,
		Metadata: ocsfMetadata{
			Version: ocsfVersion, Product: ocsfProduct{"haptrail", "haptrail", told.Version}, EventCode: f.Kind, CorrelationID: f.Key,
			UID: f.Key + "-" + strconv.FormatInt(told.Updated.UnixMilli(), 10), Profiles: []string{},
		},
		FindingInfo: ocsfInfo{
			UID: f.Key, Title: f.Title, Desc: f.Text, Types: []string{f.Kind}, Analytic: f.analytic(),
			FirstSeen: f.First.UnixMilli(), LastSeen: f.Last.UnixMilli(), Created: told.Found.UnixMilli(), Modified: told.Updated.UnixMilli(),
		},
		Evidences: ocsfEvidences(f.Evidence), Resources: f.resources(), Remediation: &ocsfText{f.Action}, Observables: f.observables(),
	}
}

func capital(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

// analytic is the detector: a rule, or one that compares with earlier behaviour.
func (f Finding) analytic() ocsfAnalytic {
	if f.Kind == firstSeenEndpoint.Kind || f.Kind == dormantPrincipal.Kind {
		return ocsfAnalytic{2, "Behavioral", f.Title, f.Kind}
	}
	return ocsfAnalytic{1, "Rule", f.Title, f.Kind}
}

// resources are what was reached, by whom and from which run and commit.
func (f Finding) resources() []ocsfResource {
	var out []ocsfResource
	for _, r := range []ocsfResource{
		{Name: f.Backend, Type: "HAProxy backend", RoleID: 1, Role: "Target"},
		{Name: f.Subject, UID: f.Subject, Type: "Identity", RoleID: 2, Role: "Actor"},
		{Name: RunID{f.Project, f.Run}.plain(), UID: f.Run, Type: "CI run", RoleID: 4, Role: "Related"},
		{Name: f.Commit, UID: f.Commit, Type: "Commit", RoleID: 4, Role: "Related"},
	} {
		if r.Name != "" {
			out = append(out, r)
		}
	}
	return out
}

// plain is "project/id", "" for no run.
func (r RunID) plain() string {
	if r.Project == "" || r.ID == "" {
		return r.ID
	}
	return r.Project + "/" + r.ID
}

// The types of observables that a finding has.
const (
	ocsfSubnet     = 12
	ocsfCredential = 19
	ocsfUserUID    = 31
)

// observables are what one would search other logs for.
func (f Finding) observables() []ocsfValue {
	var out []ocsfValue
	add := func(name string, typeID int, value string) {
		if one := (ocsfValue{name, typeID, value}); value != "" && !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	for _, e := range f.Evidence {
		add("evidences[].actor.user.uid", ocsfUserUID, e.Identity)
		add("evidences[].actor.user.credential_uid", ocsfCredential, e.TokenID)
		add("evidences[].src_endpoint.name", ocsfSubnet, e.Network)
	}
	return out
}

func ocsfEvidences(rows []Evidence) []ocsfEvidence {
	var out []ocsfEvidence
	for _, row := range rows {
		e := ocsfEvidence{Data: row}
		if row.Identity != "" {
			e.Actor = &ocsfActor{User: &ocsfUser{UID: row.Identity, TypeID: 4, Type: "Service", Credential: row.TokenID}}
		}
		if row.Method != "" {
			e.API = &ocsfAPI{Operation: row.Method + " " + row.Endpoint}
			e.HTTPRequest = &ocsfHTTPRequest{Method: row.Method}
			if row.Endpoint != "" {
				e.HTTPRequest.URL = &ocsfURL{row.Endpoint}
			}
		}
		if row.Network != "" {
			e.SrcEndpoint = &ocsfEndpoint{Name: row.Network}
		}
		if row.Backend != "" {
			e.DstEndpoint = &ocsfEndpoint{SvcName: row.Backend}
		}
		out = append(out, e)
	}
	return out
}
