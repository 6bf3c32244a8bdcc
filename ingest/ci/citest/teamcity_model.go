package citest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// teamcityDate is the format of its dates.
const teamcityDate = "20060102T150405-0700"

// The fields of the REST model that exist, as far as anybody here asks for them.
const (
	teamcityUserModel   = "id,username,name,email"
	teamcityChangeModel = "id,version,internalVersion,username,date,registrationDate,comment,personal,type,vcsRootInstance(id,vcs-root-id,name)," +
		"commiter(vcsUsername,users(count,user(" + teamcityUserModel + ")))"
	teamcityBuildModel = "id,taskId,number,buildTypeId,status,state,statusText,branchName,defaultBranch,unspecifiedBranch,personal,failedToStart," +
		"composite,queuedDate,startDate,finishDate,finishOnAgentDate,webUrl,href,buildType(id,name,projectId,projectName)," +
		"triggered(type,details,date,displayText,user(" + teamcityUserModel + ")),user(" + teamcityUserModel + "),agent(id,name,typeId)," +
		"canceledInfo(timestamp,text,user(" + teamcityUserModel + ")),properties(count,property(name,value))," +
		"revisions(count,revision(version,internalVersion,vcsBranchName,vcs-root-instance(id,vcs-root-id,name)))," +
		"changes(href),lastChanges(count,change(" + teamcityChangeModel + "))"
)

const (
	teamcityBuildDimensions  = " defaultFilter state affectedProject startDate finishDate lookupLimit count start "
	teamcityChangeDimensions = " affectedProject sinceChange version vcsRoot count start "
)

// teamcityLocator is dimension:value,... where a value in brackets is a locator too.
type teamcityLocator map[string][]string

func (l teamcityLocator) one(name string) string {
	if values := l[name]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// locator reads a request's and checks its dimensions.
func (t *TeamCity) locator(r *http.Request, known string) teamcityLocator {
	locator := parseLocator(r.URL.Query().Get("locator"))
	for name := range locator {
		if !strings.Contains(known, " "+name+" ") {
			t.Violate("%s: no dimension %q", r.URL.Path, name)
		}
	}
	return locator
}

func parseLocator(text string) teamcityLocator {
	locator := make(teamcityLocator)
	for _, part := range splitOutside(text) {
		name, value, _ := strings.Cut(part, ":")
		if strings.HasPrefix(value, "(") && strings.HasSuffix(value, ")") {
			value = value[1 : len(value)-1]
		}
		locator[name] = append(locator[name], value)
	}
	return locator
}

// splitOutside splits at the commas that are not in brackets.
func splitOutside(text string) []string {
	var parts []string
	depth, from := 0, 0
	for i, c := range text + "," {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			if i > from {
				parts = append(parts, text[from:i])
			}
			from = i + 1
		}
	}
	return parts
}

// project leaves the fields that were asked for, and records those that do not exist.
func (t *TeamCity) project(fields, model string, value any) any {
	if fields == "" {
		t.Violate("no fields were asked for: the answer would lack most, and have what nobody needs")
		return value
	}
	known := make(map[string]string)
	for _, field := range splitOutside(model) {
		name, inner, _ := strings.Cut(field, "(")
		known[name] = strings.TrimSuffix(inner, ")")
	}
	asked := make(map[string]string)
	for _, field := range splitOutside(fields) {
		name, inner, _ := strings.Cut(field, "(")
		if _, ok := known[name]; !ok {
			t.Violate("no field %q", name)
		}
		asked[name] = strings.TrimSuffix(inner, ")")
	}
	return t.cut(asked, known, value)
}

func (t *TeamCity) cut(asked, known map[string]string, value any) any {
	switch value := value.(type) {
	case []any:
		var cut []any
		for _, element := range value {
			cut = append(cut, t.cut(asked, known, element))
		}
		return cut
	case map[string]any:
		cut := make(map[string]any)
		for name, inner := range asked {
			switch field, ok := value[name]; {
			case ok && inner != "":
				cut[name] = t.project(inner, known[name], field)
			case ok:
				cut[name] = field
			}
		}
		return cut
	}
	return value
}

func (b TeamCityBuild) state(now time.Time) string {
	switch {
	case b.Queued.IsZero() || b.Queued.After(now):
		return ""
	case !b.Finished.IsZero() && !b.Finished.After(now):
		return "finished"
	case !b.Started.IsZero() && !b.Started.After(now):
		return "running"
	}
	return "queued"
}

func (b TeamCityBuild) started(now time.Time) time.Time {
	if state := b.state(now); state == "" || state == "queued" {
		return time.Time{}
	}
	return cmp.Or(b.Started, b.Finished).Add(b.AgentSkew)
}

func (b TeamCityBuild) finished(now time.Time) time.Time {
	if b.state(now) != "finished" {
		return time.Time{}
	}
	return b.Finished.Add(b.AgentSkew)
}

// rest is the build as the REST API gives it at a time, with all its fields.
func (b TeamCityBuild) rest(now time.Time, last *TeamCityChange) map[string]any {
	state := b.state(now)
	r := map[string]any{
		"id": b.ID, "taskId": b.ID, "buildTypeId": b.BuildType, "state": state, "queuedDate": teamcityText(b.Queued),
		"href": fmt.Sprintf("/app/rest/builds/id:%d", b.ID), "buildType": map[string]any{"id": b.BuildType, "name": b.BuildType, "projectId": b.Project},
		"triggered": map[string]any{"type": b.Trigger, "date": teamcityText(b.Queued)},
		// what a default payload holds too: no client may take it over
		"properties": map[string]any{"count": 1, "property": []any{map[string]any{"name": "env.SECRET", "value": "property-value"}}},
	}
	if b.User != "" {
		user := map[string]any{"id": 4, "username": b.User, "name": strings.ToUpper(b.User)}
		r["triggered"].(map[string]any)["user"] = user
		if b.Personal {
			r["user"] = user
		}
	}
	if b.Branch != "" {
		r["branchName"] = b.Branch
	}
	for name, said := range map[string]bool{"defaultBranch": b.DefaultBranch, "personal": b.Personal} {
		if said {
			r[name] = true
		}
	}
	if state == "queued" {
		r["agent"] = map[string]any{"name": "wanted-" + b.Agent} // as a restriction, it may be a pool
		return r
	}
	b.restStarted(r, now, last)
	return r
}

// restStarted adds what a build has from its start on.
func (b TeamCityBuild) restStarted(r map[string]any, now time.Time, last *TeamCityChange) {
	r["number"], r["status"], r["startDate"] = b.Number, "SUCCESS", teamcityText(b.started(now))
	if b.Agent != "" {
		r["agent"] = map[string]any{"id": 12, "name": b.Agent, "typeId": 3}
	}
	var revisions []any
	for _, revision := range b.Revisions {
		revisions = append(revisions, map[string]any{
			"version": revision.Version, "vcsBranchName": revision.Branch,
			"vcs-root-instance": map[string]any{"id": "7", "vcs-root-id": revision.Root, "name": revision.Root},
		})
	}
	if revisions != nil {
		r["revisions"] = map[string]any{"count": len(revisions), "revision": revisions}
	}
	if last != nil {
		r["lastChanges"] = map[string]any{"count": 1, "change": []any{last.rest()}}
	}
	if b.state(now) == "running" {
		r["number"] = "tmp-" + b.Number // it may set its own while it runs
		return
	}
	r["status"], r["finishDate"] = b.Status, teamcityText(b.finished(now))
	if b.Status == "UNKNOWN" {
		r["canceledInfo"] = map[string]any{"timestamp": teamcityText(b.finished(now))}
	}
}

func teamcityText(at time.Time) string { return at.UTC().Format(teamcityDate) }

func (c TeamCityChange) rest() map[string]any {
	users := []any{}
	if c.Name != "" {
		users = append(users, map[string]any{"id": 4, "username": strings.ToLower(c.Name), "name": c.Name, "email": c.Email})
	}
	r := map[string]any{
		"id": c.ID, "version": c.Version, "username": c.Username, "date": teamcityText(c.Date), "comment": c.Comment,
		"commiter": map[string]any{"vcsUsername": c.Username, "users": map[string]any{"count": len(users), "user": users}},
	}
	if c.Personal {
		r["personal"] = true
	} else {
		r["vcsRootInstance"] = map[string]any{"id": "7", "vcs-root-id": c.Root, "name": c.Root}
	}
	return r
}

// lastChange is the change of the build's first revision, if the server has it.
func (t *TeamCity) lastChange(b TeamCityBuild, now time.Time) *TeamCityChange {
	t.world.Lock()
	defer t.world.Unlock()
	for _, change := range t.changes {
		if len(b.Revisions) > 0 && change.Version == b.Revisions[0].Version && !change.Collected.After(now) {
			return &change
		}
	}
	return nil
}

// Delivery is the webhook for an event of a build, with the build as it was at a time.
func (t *TeamCity) Delivery(event string, id int64, at time.Time) Delivery {
	t.world.Lock()
	build := t.builds[id]
	t.world.Unlock()
	body, err := json.Marshal(map[string]any{"eventType": event, "payload": build.rest(at, t.lastChange(build, at))})
	if err != nil {
		t.Violate("%v", err)
	}
	header := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"TeamCity Server 2026.1.3 (build 222742)"}}
	request := http.Request{Header: header}
	if t.WebhookUser != "" {
		request.SetBasicAuth(t.WebhookUser, t.WebhookPassword)
	}
	if t.WebhookHeader != "" {
		header.Set(t.WebhookHeader, t.WebhookValue)
	}
	return Delivery{Header: header, Body: body, Received: at}
}

// History is every webhook of the world's builds, in the order of their times.
func (t *TeamCity) History() []Delivery {
	t.world.Lock()
	builds := make([]TeamCityBuild, 0, len(t.builds))
	for _, build := range t.builds {
		builds = append(builds, build)
	}
	t.world.Unlock()
	var history []Delivery
	for _, b := range builds {
		history = append(history, t.Delivery("BUILD_TYPE_ADDED_TO_QUEUE", b.ID, b.Queued))
		if !b.Started.IsZero() {
			history = append(history, t.Delivery("CHANGES_LOADED", b.ID, b.Started.Add(-time.Second)), t.Delivery("BUILD_STARTED", b.ID, b.Started))
		}
		switch {
		case b.Finished.IsZero():
		case b.Status == "UNKNOWN":
			history = append(history, t.Delivery("BUILD_INTERRUPTED", b.ID, b.Finished))
		default:
			history = append(history, t.Delivery("BUILD_FINISHED", b.ID, b.Finished))
		}
	}
	slices.SortStableFunc(history, func(a, b Delivery) int { return a.Received.Compare(b.Received) })
	return history
}
