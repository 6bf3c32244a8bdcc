package citest

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
)

// What Space's calls answer, as the vendor's model has it, before $fields.

func spaceMillis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// spaceDateTime is a DateTime.
func spaceDateTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return map[string]any{"iso": t.UTC().Format("2006-01-02T15:04:05.000Z"), "timestamp": t.UnixMilli()}
}

func (r SpaceRun) dto() map[string]any {
	return map[string]any{
		"executionId": r.ID, "executionNumber": r.Number, "jobId": r.JobID, "jobName": r.Job, "projectId": r.ProjectID,
		"branch": r.Branch, "status": r.Status, "triggeredTime": r.Queued.UnixMilli(),
		"startedTime": spaceMillis(r.Started), "finishedTime": spaceMillis(r.Finished),
		"changesCount": 1, "failureConditions": []any{}, "commitId": r.Commit,
	}
}

func (s *Space) execution(id string, _ url.Values) any {
	for _, run := range s.Runs {
		if run.ID == id {
			return run.dto()
		}
	}
	return nil
}

func (s *Space) executions(project string, q url.Values) any {
	rows := []any{}
	for _, run := range s.Runs {
		if run.JobID == q.Get("jobId") && (project == "key:"+run.ProjectKey || project == "id:"+run.ProjectID) {
			rows = append(rows, run.dto())
		}
	}
	if !s.OldestFirst {
		slices.Reverse(rows)
	}
	return rows
}

func (c SpaceCommit) dto() map[string]any {
	person := map[string]any{"name": c.Author, "email": c.Email}
	dto := map[string]any{
		"id": c.SHA, "message": c.Message, "authorDate": c.At.UnixMilli(), "commitDate": c.At.UnixMilli(),
		"author": person, "committer": person, "parents": []any{}, "heads": []any{}, "signature": nil,
	}
	if c.Signature != "" {
		dto["signature"] = map[string]any{"className": "GitCommitSignature." + c.Signature}
	}
	return dto
}

// repository finds the one that a path names: key:KEY/repositories/NAME.
func (s *Space) repository(path string) *SpaceRepository {
	for i, repository := range s.Repositories {
		if path == "key:"+repository.ProjectKey+"/repositories/"+repository.Name {
			return &s.Repositories[i]
		}
	}
	return nil
}

func (s *Space) commit(path string, q url.Values) any {
	repository := s.repository(path)
	if repository == nil || s.Old {
		return nil
	}
	for _, commit := range repository.Commits {
		if commit.SHA == q.Get("commit") {
			return commit.dto()
		}
	}
	return nil
}

func (s *Space) commits(path string, q url.Values) any {
	repository := s.repository(path)
	if repository == nil {
		return nil
	}
	rows := []any{}
	for _, commit := range repository.Commits {
		if strings.Contains(commit.SHA, q.Get("query")) {
			rows = append(rows, commit.dto())
		}
	}
	return rows
}

func (a SpaceApp) dto() map[string]any {
	dto := map[string]any{
		"id": a.ID, "clientId": a.ClientID, "name": a.Name, "archived": a.Archived, "createdAt": spaceDateTime(a.Created),
		"owner": nil, "ownerApp": nil, "metadata": nil,
	}
	if a.Owner != "" {
		dto["owner"] = map[string]any{"id": "u-" + a.Owner, "username": a.Owner}
	}
	if a.ProjectID != "" {
		dto["metadata"] = map[string]any{
			"className": "AutomationServiceMetadata",
			"project":   map[string]any{"id": a.ProjectID, "key": map[string]any{"key": a.ProjectKey}},
		}
	}
	return dto
}

func (s *Space) apps(_ string, q url.Values) any {
	rows := []any{}
	for _, app := range s.Apps {
		if !app.Archived || q.Get("withArchived") == "true" {
			rows = append(rows, app.dto())
		}
	}
	return rows
}

func (s *Space) app(name string) *SpaceApp {
	for i, app := range s.Apps {
		if name == "id:"+app.ID {
			return &s.Apps[i]
		}
	}
	return nil
}

func (s *Space) contexts(name string, _ url.Values) any {
	app := s.app(name)
	if app == nil {
		return nil
	}
	rows := []any{map[string]any{"className": "ChannelPermissionContext"}}
	for context := range app.Rights {
		if context == "global" {
			rows = append(rows, map[string]any{"className": "GlobalPermissionContext"})
			continue
		}
		project := map[string]any{"id": "id-" + context, "key": map[string]any{"key": context}}
		rows = append(rows, map[string]any{"className": "ProjectPermissionContext", "project": project})
	}
	return rows
}

func (s *Space) rights(name string, q url.Values) any {
	app := s.app(name)
	if app == nil {
		return nil
	}
	context := q.Get("contextIdentifier")
	key, project := strings.CutPrefix(context, "project:key:")
	if !project && context != "global" {
		s.Violate("authorized-rights: contextIdentifier %q", context)
		return nil
	}
	rows := []any{map[string]any{"rightCode": "Project.Edit", "status": "REQUESTED"}}
	for _, code := range app.Rights[key] {
		rows = append(rows, map[string]any{"rightCode": code, "status": "GRANTED"})
	}
	return rows
}

func (s *Space) lastAccess(name string, _ url.Values) any {
	app := s.app(name)
	if app == nil || app.LastAccess.IsZero() {
		return nil
	}
	return map[string]any{"time": spaceDateTime(app.LastAccess), "address": "192.0.2.1", "userAgent": "curl"}
}

func (s *Space) permanentTokens(name string, _ url.Values) any {
	app := s.app(name)
	if app == nil {
		return nil
	}
	rows := []any{}
	for _, token := range app.Tokens {
		var access any
		if !token.Accessed.IsZero() {
			access = map[string]any{"time": spaceDateTime(token.Accessed), "address": "192.0.2.1"}
		}
		rows = append(rows, map[string]any{
			"id": token.ID, "name": token.ID, "created": spaceDateTime(token.Created), "expires": spaceDateTime(token.Expires), "lastAccess": access,
		})
	}
	return rows
}

// fields is what $fields asks for: a tree of names; nil asks for a value whole.
type fields map[string]fields

// parseFields reads "next,data(id,key(key))".
func parseFields(text string) fields {
	root := fields{}
	stack, name := []fields{root}, ""
	for _, r := range text + "," {
		top := stack[len(stack)-1]
		if !strings.ContainsRune("(),", r) {
			name += string(r)
			continue
		}
		if name != "" && top[name] == nil {
			top[name] = nil
		}
		switch r {
		case '(':
			top[name] = fields{}
			stack = append(stack, top[name])
		case ')':
			stack = stack[:max(len(stack)-1, 1)]
		}
		name = ""
	}
	return root
}

// spacePlain makes a value what a JSON decoder would make of it.
func spacePlain(value any) any {
	text, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	var plain any
	_ = json.Unmarshal(text, &plain)
	return plain
}

// spacePrune leaves the fields that were asked for. A nested object whose own fields
// were not asked for comes empty; a DateTime, a key and an access record, which the
// model treats as values, come whole.
func spacePrune(value any, want fields) any {
	switch value := value.(type) {
	case []any:
		for i := range value {
			value[i] = spacePrune(value[i], want)
		}
	case map[string]any:
		for name, member := range value {
			below, asked := want[name]
			object, nested := member.(map[string]any)
			switch {
			case !asked:
				delete(value, name)
			case below != nil:
				value[name] = spacePrune(member, below)
			case nested && object["timestamp"] == nil && object["key"] == nil && object["time"] == nil:
				value[name] = map[string]any{}
			}
		}
	}
	return value
}
