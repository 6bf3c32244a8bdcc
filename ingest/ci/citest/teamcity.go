package citest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// TeamCity is a fake TeamCity server: builds and changes by the REST API of
// jetbrains.com/help/teamcity/rest, and the webhooks of JetBrains/teamcity-webhooks.
//
// Its world goes by its clock: a build is queued, running or finished as its times
// say, and one that is yet to be queued is not there.
type TeamCity struct {
	Fake

	// Token is the access token that a client has to send.
	Token string
	// Clock is the server's; nil is the machine's.
	Clock func() time.Time
	// WebhookUser and WebhookPassword are sent with its webhooks (HTTP Basic);
	// "" sends none, as a server with a hidden password does.
	WebhookUser, WebhookPassword string
	// WebhookHeader and WebhookValue are what a proxy adds to them.
	WebhookHeader, WebhookValue string

	world   sync.Mutex
	builds  map[int64]TeamCityBuild
	changes []TeamCityChange
}

// TeamCityBuild is one build, by its whole life.
type TeamCityBuild struct {
	ID                        int64
	Number                    string
	BuildType                 string   // external id
	Project                   string   // external id
	Above                     []string // the projects that Project is in
	Branch                    string   // display name; "" has none
	DefaultBranch, Personal   bool
	Status                    string // SUCCESS, FAILURE or, canceled, UNKNOWN: once it has finished
	Trigger, User             string
	Agent                     string
	AgentSkew                 time.Duration // of the agent's clock, which sets Started and Finished
	Queued, Started, Finished time.Time     // by the server's clock; zero: not yet
	Revisions                 []TeamCityRevision
}

// TeamCityRevision is what a build checked out of one VCS root.
type TeamCityRevision struct{ Root, Version, Branch string }

// TeamCityChange is a commit that the server has collected.
type TeamCityChange struct {
	ID                      int64
	Version, Root, Username string
	Name, Email             string // of the TeamCity user that it is of; "" is of none
	Comment                 string
	Date, Collected         time.Time
	Project                 string
	Above                   []string
	Personal                bool
}

// Put adds a build, or takes the place of one.
func (t *TeamCity) Put(builds ...TeamCityBuild) {
	t.world.Lock()
	defer t.world.Unlock()
	if t.builds == nil {
		t.builds = make(map[int64]TeamCityBuild)
	}
	for _, build := range builds {
		t.builds[build.ID] = build
	}
}

// PutChange adds changes.
func (t *TeamCity) PutChange(changes ...TeamCityChange) {
	t.world.Lock()
	defer t.world.Unlock()
	t.changes = append(t.changes, changes...)
}

func (t *TeamCity) now() time.Time {
	if t.Clock == nil {
		return time.Now().UTC()
	}
	return t.Clock().UTC()
}

// ServeHTTP answers the REST API.
func (t *TeamCity) ServeHTTP(w http.ResponseWriter, r *http.Request) { t.Serve(w, r, t.answer) }

func (t *TeamCity) answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", t.now().Format(http.TimeFormat))
	if r.Method != http.MethodGet {
		t.Violate("%s %s: only GET is needed", r.Method, r.URL.Path)
	}
	if r.Header.Get("Authorization") != "Bearer "+t.Token {
		http.Error(w, "Authentication required", http.StatusUnauthorized)
		return
	}
	if r.Header.Get("Accept") != "application/json" {
		t.Violate("%s: Accept is %q: the answer would be XML", r.URL.Path, r.Header.Get("Accept"))
	}
	path := r.URL.Path
	single, isBuild := strings.CutPrefix(path, "/app/rest/builds/id:")
	switch {
	case isBuild:
		t.oneBuild(w, r, single)
	case path == "/app/rest/builds":
		t.listBuilds(w, r)
	case path == "/app/rest/changes":
		t.listChanges(w, r)
	default:
		t.Violate("GET %s: no such call", path)
		http.NotFound(w, r)
	}
}

func (t *TeamCity) oneBuild(w http.ResponseWriter, r *http.Request, text string) {
	id, err := strconv.ParseInt(text, 10, 64)
	now := t.now()
	t.world.Lock()
	build, ok := t.builds[id]
	t.world.Unlock()
	if err != nil || !ok || build.Queued.After(now) {
		http.Error(w, fmt.Sprintf("No build found by locator 'id:%s'.", text), http.StatusNotFound)
		return
	}
	reply(w, t.project(r.URL.Query().Get("fields"), teamcityBuildModel, build.rest(now, t.lastChange(build, now))))
}

func (t *TeamCity) listBuilds(w http.ResponseWriter, r *http.Request) {
	locator, now := t.locator(r, teamcityBuildDimensions), t.now()
	if locator.one("defaultFilter") != "false" {
		t.Violate("builds: without defaultFilter:false canceled, personal and branch builds are hidden: %s", r.URL.Query().Get("locator"))
	}
	if locator.one("state") == "finished" && len(locator["startDate"]) == 0 {
		t.Violate("builds: nothing but startDate ends the search in the history")
	}
	if !t.knows(w, locator) {
		return
	}
	t.world.Lock()
	var found []TeamCityBuild
	for _, build := range t.builds {
		if t.selects(locator, build, now) {
			found = append(found, build)
		}
	}
	t.world.Unlock()
	// queued, then running, then finished, each the newest first
	slices.SortFunc(found, func(a, b TeamCityBuild) int {
		return cmp.Or(-strings.Compare(stateOrder(a.state(now)), stateOrder(b.state(now))), cmp.Compare(b.ID, a.ID))
	})
	page, next := pageOf(r, locator, found)
	builds := make([]any, 0, len(page))
	for _, build := range page {
		builds = append(builds, build.rest(now, t.lastChange(build, now)))
	}
	answer := map[string]any{"count": len(builds), "href": r.URL.RequestURI(), "build": builds}
	if next != "" {
		answer["nextHref"] = next
	}
	reply(w, t.project(r.URL.Query().Get("fields"), "count,href,nextHref,build("+teamcityBuildModel+")", answer))
}

func stateOrder(state string) string {
	return map[string]string{"queued": "3", "running": "2", "finished": "1"}[state]
}

// selects reports whether a locator means a build.
func (t *TeamCity) selects(locator teamcityLocator, build TeamCityBuild, now time.Time) bool {
	state, wanted := build.state(now), locator.one("state")
	if state == "" || wanted != "any" && wanted != state && !strings.Contains(wanted, state+":true") {
		return false
	}
	if project := locator.one("affectedProject"); project != "" && !inside(project, build.Project, build.Above) {
		return false
	}
	for name, at := range map[string]time.Time{"startDate": build.started(now), "finishDate": build.finished(now)} {
		for _, condition := range locator[name] {
			if !t.dateFits(condition, at) {
				return false
			}
		}
	}
	return true
}

// knows answers 404 for a project that there is not.
func (t *TeamCity) knows(w http.ResponseWriter, locator teamcityLocator) bool {
	project := locator.one("affectedProject")
	t.world.Lock()
	defer t.world.Unlock()
	for _, build := range t.builds {
		if project == "" || inside(project, build.Project, build.Above) {
			return true
		}
	}
	if project == "" {
		return true
	}
	http.Error(w, "No project found by locator '"+project+"'.", http.StatusNotFound)
	return false
}

func inside(locator, project string, above []string) bool {
	id, ok := strings.CutPrefix(locator, "id:")
	return ok && (id == project || slices.Contains(above, id))
}

// dateFits applies (date:20240131T120000+0000,condition:after); a build without
// the date never fits.
func (t *TeamCity) dateFits(condition string, at time.Time) bool {
	parts := parseLocator(condition)
	limit, err := time.Parse(teamcityDate, parts.one("date"))
	if err != nil {
		t.Violate("builds: %q is no date such as 20240131T120000+0000", parts.one("date"))
		return false
	}
	switch parts.one("condition") {
	case "after":
		return !at.IsZero() && at.Truncate(time.Second).After(limit)
	case "before":
		return !at.IsZero() && at.Truncate(time.Second).Before(limit)
	}
	t.Violate("builds: condition %q", parts.one("condition"))
	return false
}

func (t *TeamCity) listChanges(w http.ResponseWriter, r *http.Request) {
	locator, now := t.locator(r, teamcityChangeDimensions), t.now()
	if !t.knows(w, locator) {
		return
	}
	since, _ := strconv.ParseInt(strings.TrimPrefix(locator.one("sinceChange"), "id:"), 10, 64)
	t.world.Lock()
	var found []TeamCityChange
	for _, change := range t.changes {
		version, root, project := locator.one("version"), locator.one("vcsRoot"), locator.one("affectedProject")
		if change.Collected.After(now) || change.ID <= since || version != "" && version != change.Version ||
			root != "" && root != "id:"+change.Root || project != "" && !inside(project, change.Project, change.Above) {
			continue
		}
		found = append(found, change)
	}
	t.world.Unlock()
	slices.SortFunc(found, func(a, b TeamCityChange) int { return cmp.Compare(b.ID, a.ID) })
	page, next := pageOf(r, locator, found)
	changes := make([]any, 0, len(page))
	for _, change := range page {
		changes = append(changes, change.rest())
	}
	answer := map[string]any{"count": len(changes), "href": r.URL.RequestURI(), "change": changes}
	if next != "" {
		answer["nextHref"] = next
	}
	reply(w, t.project(r.URL.Query().Get("fields"), "count,href,nextHref,change("+teamcityChangeModel+")", answer))
}

// pageOf cuts a page out of a list by count and start, and gives the link to the next.
func pageOf[T any](r *http.Request, locator teamcityLocator, all []T) (page []T, next string) {
	start, _ := strconv.Atoi(locator.one("start"))
	count, err := strconv.Atoi(locator.one("count"))
	if err != nil {
		count = 100
	}
	start = min(start, len(all))
	end := min(start+count, len(all))
	if end == len(all) {
		return all[start:end], ""
	}
	query := r.URL.Query()
	text := query.Get("locator")
	if cut := strings.Index(text, ",start:"); cut >= 0 {
		text = text[:cut]
	}
	return all[start:end], r.URL.Path + "?" + url.Values{
		"locator": {fmt.Sprintf("%s,start:%d", text, end)}, "fields": {query.Get("fields")},
	}.Encode()
}

func reply(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the client may have gone
}
