package ci

import "encoding/json"

// spacePush is an SRepoPushWebhookEvent. newCommitId and hasMoreCommits, which
// servers before 2024 lack, are not needed: Poll gets what a push left out.
type spacePush struct {
	Project    spaceKey               `json:"projectKey"`
	Repository spaceText              `json:"repository"`
	Commits    spaceList[spaceCommit] `json:"commits"`
}

func (e *spacePush) facts(*Space) ([]Fact, error) {
	return spaceCommitFacts(e.Project, e.Repository, e.Commits), nil
}

// spaceCommitted is an SRepoCommitsWebhookEvent: one commit, with its changes.
type spaceCommitted struct {
	Project    spaceKey        `json:"projectKey"`
	Repository spaceText       `json:"repository"`
	Commit     spaceCommitItem `json:"commit"`
}

func (e *spaceCommitted) facts(*Space) ([]Fact, error) {
	return spaceCommitFacts(e.Project, e.Repository, []spaceCommit{e.Commit.spaceCommit}), nil
}

// spaceHeads is an SRepoHeadsWebhookEvent.
type spaceHeads struct {
	Project    spaceKey  `json:"projectKey"`
	Repository spaceText `json:"repository"`
	Changes    struct {
		Commits spaceList[spaceCommitItem] `json:"commits"`
	} `json:"changes"`
}

func (e *spaceHeads) facts(*Space) ([]Fact, error) {
	commits := make([]spaceCommit, len(e.Changes.Commits))
	for i, item := range e.Changes.Commits {
		commits[i] = item.spaceCommit
	}
	return spaceCommitFacts(e.Project, e.Repository, commits), nil
}

// spaceCommitItem is a commit as lists of changes have it: GitCommitInfo,
// GitCommitInfoWithChanges around one, or (not documented, but likely) its hash.
type spaceCommitItem struct{ spaceCommit }

// UnmarshalJSON reads any of the three.
func (v *spaceCommitItem) UnmarshalJSON(b []byte) error {
	v.spaceCommit = spaceCommit{}
	if spaceUnsaid(b) || b[0] != '{' {
		return v.ID.UnmarshalJSON(b)
	}
	var around struct {
		Commit *spaceCommit `json:"commit"`
	}
	if err := json.Unmarshal(b, &around); err != nil {
		return err
	}
	if around.Commit != nil {
		v.spaceCommit = *around.Commit
		return nil
	}
	return json.Unmarshal(b, &v.spaceCommit)
}

// spaceCommitFacts leaves out what has no whole hash: it could be joined to nothing.
func spaceCommitFacts(project spaceKey, repository spaceText, commits []spaceCommit) []Fact {
	var facts []Fact
	for _, c := range commits {
		commit := c.commit(string(project.Key), string(repository))
		if commit.SHA != "" {
			facts = append(facts, Fact{Commit: &commit})
		}
	}
	return facts
}
