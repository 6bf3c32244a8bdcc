package ci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// spaceApp is an ESApp.
type spaceApp struct {
	ID       spaceText    `json:"id"`
	ClientID spaceText    `json:"clientId"`
	Name     spaceText    `json:"name"`
	Archived *spaceFlag   `json:"archived"` // nil: not said
	Created  spaceTime    `json:"createdAt"`
	Owner    spaceProfile `json:"owner"`
	OwnerApp struct {
		Name spaceText `json:"name"`
	} `json:"ownerApp"`
	Metadata struct {
		ClassName spaceText       `json:"className"`
		Project   spaceProjectRef `json:"project"`
	} `json:"metadata"`
}

// Kinds of credentials.
const (
	spaceClientSecret   = "client-secret"
	spacePermanentToken = "permanent-token"
)

// spaceAppFields are the fields of ESApp that we use.
const spaceAppFields = "id,clientId,name,archived,createdAt,owner(id,username),ownerApp(name),metadata(className,project(id,key))"

// principal is an application as a message describes it, at a time. What is not in
// the message is not said.
func (s *Space) principal(app spaceApp, at time.Time) Principal {
	subject := map[SpaceSubject]spaceText{SpaceSubjectID: app.ID, SpaceSubjectClientID: app.ClientID, SpaceSubjectName: app.Name}
	p := Principal{
		Provider: spaceProvider, Subject: string(subject[s.config.Subject]), Created: app.Created.Time, Said: at,
	}
	if app.Name != "" {
		p.Name = said(string(app.Name), at)
	}
	if owner := cmp.Or(app.Owner.Username, app.Owner.ID, app.OwnerApp.Name); owner != "" {
		p.Owner = said(string(owner), at)
	}
	if app.Archived != nil {
		p.Archived = said(bool(*app.Archived), at)
	}
	if app.Metadata.ClassName == "AutomationServiceMetadata" {
		ref := app.Metadata.Project
		p.Project = s.project(string(ref.ID), string(ref.Key.Key)).Name
	}
	return p
}

// spaceAppEvent is an ApplicationWebhookEvent or ApplicationAuthorizedWebhookEvent.
type spaceAppEvent struct {
	Meta     spaceMeta               `json:"meta"`
	App      spaceApp                `json:"application"`
	Name     spaceChange[spaceText]  `json:"name"`
	Archived spaceChange[*spaceFlag] `json:"archived"`
	Secret   spaceFlag               `json:"clientSecretChanged"`
}

// facts of an event about an application. It tells no rights, and of credentials
// at most that the client secret is new; Poll reads them whole.
func (e *spaceAppEvent) facts(s *Space) ([]Fact, error) {
	if e.Name.New != "" {
		e.App.Name = e.Name.New
	}
	if e.Archived.New != nil {
		e.App.Archived = e.Archived.New
	}
	p := s.principal(e.App, e.Meta.Timestamp.Time)
	if p.Subject == "" {
		return nil, nil
	}
	if e.Secret && e.App.ClientID != "" {
		p.Credentials = []Credential{{ID: string(e.App.ClientID), Kind: spaceClientSecret, Created: p.Said, Said: p.Said}}
	}
	return []Fact{{Principal: &p}}, nil
}

// principals reads all applications, with their rights and credentials.
func (p *spacePoll) principals(ctx context.Context) error {
	query := url.Values{"withArchived": {"true"}, "$fields": {"next,data(" + spaceAppFields + ")"}}
	return spacePages(ctx, p, "applications/paged", query, func(apps []spaceApp, header http.Header) (bool, error) {
		for _, app := range apps {
			if app.ID == "" {
				continue // an inline error in its place
			}
			if err := p.principal(ctx, app, spaceAnswered(header)); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// principal adds what the API says of one application. What it does not let us see
// is reported once, and left out.
func (p *spacePoll) principal(ctx context.Context, app spaceApp, at time.Time) error {
	principal := p.space.principal(app, at)
	if principal.Subject == "" {
		return nil
	}
	if !principal.Owner.Known { // it was asked for: nobody's
		principal.Owner = said("", at)
	}
	path := "applications/id:" + url.PathEscape(string(app.ID))
	var failed error
	for _, part := range []struct {
		name string
		read func(context.Context, string, spaceApp, *Principal) error
	}{{"rights", p.rights}, {"last access", p.lastAccess}, {"permanent tokens", p.permanentTokens}} {
		if failed != nil || p.refused[part.name] {
			continue
		}
		err := part.read(ctx, path, app, &principal)
		switch {
		case err == nil || errors.Is(err, ErrNotFound): // it was removed, or never used
		case errors.Is(err, ErrRefused) && !errors.Is(err, errSpaceCredentials):
			p.refused[part.name] = true
			p.problems = append(p.problems, fmt.Errorf("the %s of applications: %w", part.name, err))
		default:
			failed = err
		}
	}
	if failed == nil {
		p.facts = append(p.facts, Fact{Principal: &principal})
	}
	return failed
}

// spaceContext is a PermissionContextApi.
type spaceContext struct {
	ClassName spaceText       `json:"className"`
	Project   spaceProjectRef `json:"project"`
}

// identifier is the context as queries and scopes name it; "" for one that the
// vendor's model names without saying how (channels, package repositories).
func (c spaceContext) identifier() string {
	switch {
	case c.ClassName == "GlobalPermissionContext":
		return "global"
	case c.ClassName == "ProjectPermissionContext" && c.Project.Key.Key != "":
		return "project:key:" + string(c.Project.Key.Key)
	case c.ClassName == "ProjectPermissionContext" && c.Project.ID != "":
		return "project:id:" + string(c.Project.ID)
	}
	return ""
}

// rights are those granted in each context, as a scope would name them:
// "project:key:MYPROJ:VcsRepository.Read".
func (p *spacePoll) rights(ctx context.Context, path string, _ spaceApp, into *Principal) error {
	var contexts spaceList[spaceContext]
	path += "/authorizations/"
	if err := p.get(ctx, path+"authorized-contexts", url.Values{"$fields": {"className,project(id,key)"}}, &contexts); err != nil {
		return err
	}
	rights := []string{}
	for _, one := range contexts {
		name := one.identifier()
		if name == "" {
			continue
		}
		var granted spaceList[struct {
			Code   spaceText `json:"rightCode"`
			Status spaceText `json:"status"`
		}]
		query := url.Values{"contextIdentifier": {name}, "$fields": {"rightCode,status"}}
		if err := p.get(ctx, path+"authorized-rights", query, &granted); err != nil {
			return err
		}
		for _, right := range granted {
			if right.Status == "GRANTED" && right.Code != "" {
				rights = append(rights, name+":"+string(right.Code))
			}
		}
	}
	slices.Sort(rights)
	into.Rights = said(slices.Compact(rights), into.Said)
	return nil
}

// lastAccess is when the client secret was last exchanged for a token.
func (p *spacePoll) lastAccess(ctx context.Context, path string, app spaceApp, into *Principal) error {
	var record spaceAccess
	if err := p.get(ctx, path+"/last-client-credentials-access", url.Values{"$fields": {"time"}}, &record); err != nil {
		return err
	}
	if used := record.Time.Time; !used.IsZero() {
		into.LastUsed = latest(into.LastUsed, used)
		into.Credentials = append(into.Credentials, Credential{ID: string(app.ClientID), Kind: spaceClientSecret, LastUsed: used, Said: into.Said})
	}
	return nil
}

// permanentTokens are an application's, by name and never the token.
func (p *spacePoll) permanentTokens(ctx context.Context, path string, _ spaceApp, into *Principal) error {
	type token struct {
		ID      spaceText   `json:"id"`
		Created spaceTime   `json:"created"`
		Expires spaceTime   `json:"expires"`
		Access  spaceAccess `json:"lastAccess"`
	}
	query := url.Values{"$fields": {"next,data(id,created,expires,lastAccess)"}}
	err := spacePages(ctx, p, path+"/permanent-tokens", query, func(tokens []token, _ http.Header) (bool, error) {
		for _, t := range tokens {
			into.LastUsed = latest(into.LastUsed, t.Access.Time.Time)
			into.Credentials = append(into.Credentials, Credential{
				ID: string(t.ID), Kind: spacePermanentToken, Created: t.Created.Time, Expires: t.Expires.Time,
				LastUsed: t.Access.Time.Time, Said: into.Said,
			})
		}
		return true, nil
	})
	if err == nil {
		into.Listed = map[string]time.Time{spacePermanentToken: into.Said}
	}
	return err
}

// spaceAnswered is the server's own time of an answer (RFC 9110, section 6.6.1),
// the zero time where it does not say: an application has no time of change.
func spaceAnswered(header http.Header) time.Time {
	at, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}
