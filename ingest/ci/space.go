package ci

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// spaceProvider is the name of Space in facts, as in edge/provider.
const spaceProvider = "space"

// SpaceConfig is one JetBrains Space server. Its cloud service ended in June 2025;
// servers on premises and exported histories are left.
type SpaceConfig struct {
	// ServerURL is the server's address, without /api/http; https, or http for a
	// loopback host. Required.
	ServerURL string

	// ClientID is our application's. Its credentials are ClientSecret, which are
	// exchanged for short tokens, or PermanentToken, which is sent as it is: one of
	// the two, or neither where only webhooks come in. What they need:
	// Automation.Execution.View, VcsRepository.Read, Applications.View.
	ClientID       string
	ClientSecret   Secret
	PermanentToken Secret
	// Scope is what ClientSecret asks for; "" is "**", all that was granted.
	Scope string

	// Webhooks says how deliveries are verified; its zero value refuses them all.
	Webhooks SpaceVerification

	// Projects are those to poll, and the names of those in webhooks.
	Projects []SpaceProject

	// Subject says which of an application's names is the sub of its tokens.
	// JetBrains does not document it; "" is SpaceSubjectID.
	Subject SpaceSubject

	// CommitQuery finds a commit on servers without get-commit; {sha} stands for
	// it. The grammar is not documented; "" is "{sha}".
	CommitQuery string

	// PrincipalsEvery is how often Poll reads the applications, about five calls
	// each; 0 is an hour.
	PrincipalsEvery time.Duration

	// HTTP makes the requests, Pause waits between two tries (see Client), and Now
	// is the clock for the lifetime of tokens and keys; nil is the usual.
	HTTP  *http.Client
	Pause func(ctx context.Context, d time.Duration) error
	Now   func() time.Time
}

// SpaceSubject is a name that an application has in Space.
type SpaceSubject string

// The names that may be the sub of an application's tokens.
const (
	SpaceSubjectID       SpaceSubject = "id"
	SpaceSubjectClientID SpaceSubject = "clientId"
	SpaceSubjectName     SpaceSubject = "name"
)

// SpaceProject is a project as its server and the policy file name it.
type SpaceProject struct {
	// Key and ID are both required: webhooks tell both, the API's executions only
	// the ID (a job sees it as JB_SPACE_PROJECT_ID).
	Key, ID string
	// Name is the project in facts: what the policy file's projects call it. "" is
	// the Key. A project that is not configured has its ID for a name.
	Name string
	// Jobs are the ids of the jobs to poll: the API lists executions by job only.
	Jobs []string
	// Repositories are the names of the repositories whose commits are polled.
	Repositories []string
	// Principal is the subject of the tokens that the project's jobs have: its
	// Automation Service. The API does not tie the two; "" is not known.
	Principal string
}

// Space is a Source: one JetBrains Space server. It may be used by several
// goroutines at once.
type Space struct {
	config     SpaceConfig
	base       string
	tokens     *spaceTokens // nil: no API
	keys       *spaceKeys   // nil: not verified by public key
	byID       map[string]*SpaceProject
	byKey      map[string]*SpaceProject
	verifyWith func(ctx context.Context, d Delivery) error
}

var _ Source = (*Space)(nil)

// NewSpace checks a configuration; it calls nobody. Errors name the field.
func NewSpace(config SpaceConfig) (*Space, error) {
	base, err := spaceServer(config.ServerURL)
	if err != nil {
		return nil, err
	}
	config.Scope = cmp.Or(config.Scope, "**")
	config.Subject = cmp.Or(config.Subject, SpaceSubjectID)
	config.CommitQuery = cmp.Or(config.CommitQuery, "{sha}")
	config.PrincipalsEvery = cmp.Or(config.PrincipalsEvery, time.Hour)
	if config.HTTP == nil {
		config.HTTP = &http.Client{Timeout: callTimeout}
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	switch config.Subject {
	case SpaceSubjectID, SpaceSubjectClientID, SpaceSubjectName:
	default:
		return nil, fmt.Errorf("space: Subject %q: use id, clientId or name", config.Subject)
	}
	s := &Space{config: config, base: base}
	if err := s.nameProjects(); err != nil {
		return nil, err
	}
	switch {
	case config.ClientSecret != nil && config.PermanentToken != nil:
		return nil, errors.New("space: ClientSecret and PermanentToken: configure one of the two")
	case config.ClientSecret != nil && config.ClientID == "":
		return nil, errors.New("space: ClientID: ClientSecret needs it")
	case config.ClientSecret != nil || config.PermanentToken != nil:
		s.tokens = newSpaceTokens(base, config)
	}
	return s, s.setVerification()
}

// spaceServer checks the server's URL, and takes its last slash away.
func spaceServer(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", errors.New("space: ServerURL: write https://HOST")
	}
	ip, err := netip.ParseAddr(u.Hostname())
	loopback := strings.EqualFold(u.Hostname(), "localhost") || err == nil && ip.Unmap().IsLoopback()
	switch {
	case u.User != nil:
		return "", errors.New("space: ServerURL: take the user name out, and configure ClientID")
	case u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("space: ServerURL: nothing may follow the path")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback):
		return "", errors.New("space: ServerURL: use https: our secret is sent there (http is for a loopback host only)")
	}
	return strings.TrimRight(address, "/"), nil
}

func (s *Space) nameProjects() error {
	s.byID, s.byKey = make(map[string]*SpaceProject), make(map[string]*SpaceProject)
	jobs := make(map[string]bool)
	for i, p := range s.config.Projects {
		switch {
		case p.Key == "" || p.ID == "":
			return fmt.Errorf("space: Projects[%d]: Key and ID are both needed (jobs see them as JB_SPACE_PROJECT_KEY and JB_SPACE_PROJECT_ID)", i)
		case s.byID[p.ID] != nil || s.byKey[p.Key] != nil:
			return fmt.Errorf("space: Projects[%d]: the project %s is listed twice", i, p.Key)
		}
		for _, job := range p.Jobs {
			if job == "" || jobs[job] {
				return fmt.Errorf("space: Projects[%d].Jobs: the job %q is empty or listed twice", i, job)
			}
			jobs[job] = true
		}
		p.Name = cmp.Or(p.Name, p.Key)
		s.byID[p.ID], s.byKey[p.Key] = &p, &p
	}
	return nil
}

// project is the project of an id, a key or both, by the configuration alone:
// what one message taught must not change what the next one says.
func (s *Space) project(id, key string) SpaceProject {
	if p := s.byID[id]; p != nil {
		return *p
	}
	if p := s.byKey[key]; p != nil && id == "" {
		return *p
	}
	return SpaceProject{ID: id, Key: key, Name: cmp.Or(id, key)}
}

// String names the server and no secret.
func (s *Space) String() string { return "space " + s.base }

// spaceID is what an execution's id may be: one of a request's header goes into a
// path.
var spaceID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// spaceRunFields are the fields of JobExecutionDTO that we use.
const spaceRunFields = "executionId,executionNumber,jobId,jobName,projectId,branch,status,triggeredTime,startedTime,finishedTime," +
	"failureConditions(className),commitId"

// Run looks a run up by its execution id (JB_SPACE_EXECUTION_ID), which is unique
// on a server; its number is not. The run that is returned names its own project,
// which may be another than was asked for: a claim that is contradicted.
func (s *Space) Run(ctx context.Context, _, run string) (Run, error) {
	if !spaceID.MatchString(run) {
		return Run{}, fmt.Errorf("space: %w: this cannot be an execution's id", ErrNotFound)
	}
	var execution spaceExecution
	answer, err := s.get(ctx, "projects/automation/graph-executions/"+run, url.Values{"$fields": {spaceRunFields}}, &execution)
	if err != nil {
		return Run{}, err
	}
	if string(execution.ID) != run {
		return Run{}, fmt.Errorf("space: execution %s: %w: the answer is about another or none: %w", run, ErrMalformed, answer.problems())
	}
	return s.runOf(execution), nil
}

// spaceCommitFields are the fields of GitCommitInfo that we use.
const spaceCommitFields = "id,message,authorDate,commitDate,author(name,email),committer(name,email),signature(className)"

// Commit looks a commit up. The repository is KEY/NAME, or the NAME of one that is
// configured in one project only.
func (s *Space) Commit(ctx context.Context, repository, sha string) (Commit, error) {
	sha = spaceSHA(sha)
	key, name, err := s.repository(repository)
	if err != nil || sha == "" {
		return Commit{}, fmt.Errorf("space: %w: %s: write KEY/REPOSITORY and a whole commit hash", ErrNotFound, repository)
	}
	path := spaceRepositoryPath(key, name)
	var one spaceCommit
	_, err = s.get(ctx, path+"/get-commit", url.Values{"commit": {sha}, "$fields": {spaceCommitFields}}, &one)
	if err == nil && spaceSHA(string(one.ID)) == sha {
		return one.answered(key, name), nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Commit{}, err
	}
	// No such commit, or a server that is too old for get-commit.
	var page spaceBatch[spaceCommit]
	query := url.Values{"query": {strings.ReplaceAll(s.config.CommitQuery, "{sha}", sha)}, "$top": {"100"}, "$fields": {"data(" + spaceCommitFields + ")"}}
	if _, err := s.get(ctx, path+"/commits", query, &page); err != nil {
		return Commit{}, err
	}
	for _, found := range page.Data {
		if spaceSHA(string(found.ID)) == sha {
			return found.answered(key, name), nil
		}
	}
	return Commit{}, fmt.Errorf("space: %w: commit %s in %s", ErrNotFound, sha, repository)
}

// repository takes a repository's name apart.
func (s *Space) repository(full string) (key, name string, err error) {
	if key, name, ok := strings.Cut(full, "/"); ok && key != "" && name != "" {
		return key, name, nil
	}
	for _, p := range s.config.Projects {
		for _, configured := range p.Repositories {
			if configured != full {
				continue
			}
			if key != "" {
				return "", "", ErrNotFound
			}
			key = p.Key
		}
	}
	if key == "" {
		return "", "", ErrNotFound
	}
	return key, full, nil
}

func spaceRepositoryPath(key, name string) string {
	return "projects/key:" + url.PathEscape(key) + "/repositories/" + url.PathEscape(name)
}

// spaceReply is what came beside the value of an answer.
type spaceReply struct {
	header http.Header
	inline error // "$errors" in place of values, nil as a rule
}

// problems is what the server said in place of values.
func (r spaceReply) problems() error {
	if r.inline == nil {
		return errors.New("it does not say why")
	}
	return r.inline
}

// errSpaceCredentials: another call would be refused as this one was.
var errSpaceCredentials = errors.New("the credentials are not taken")

// get asks the API for a path below /api/http. Errors are Client.Get's.
func (s *Space) get(ctx context.Context, path string, query url.Values, into any) (spaceReply, error) {
	if s.tokens == nil {
		return spaceReply{}, fmt.Errorf("space: %w without credentials: configure ClientSecret or PermanentToken", ErrUnsupported)
	}
	var given, refused string
	client := Client{Base: s.base + "/api/http", HTTP: s.config.HTTP, Pause: s.config.Pause}
	client.Authorize = func(ctx context.Context, r *http.Request, fresh bool) error {
		if fresh && refused == "" {
			refused = given // another call may have got a new one meanwhile
		}
		token, err := s.tokens.get(ctx, refused)
		if err != nil {
			return err
		}
		given = token
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
	var raw json.RawMessage
	header, err := client.Get(ctx, path, query, &raw)
	if errors.Is(err, ErrRefused) && refused != "" {
		err = fmt.Errorf("%w: %w", errSpaceCredentials, err)
	}
	if err != nil {
		return spaceReply{header: header}, fmt.Errorf("space: %w", err)
	}
	if err := spaceDecode(raw, into); err != nil {
		return spaceReply{header: header}, fmt.Errorf("space: %s: %w", path, err)
	}
	return spaceReply{header: header, inline: spaceInline(raw)}, nil
}
