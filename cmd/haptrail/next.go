package main

import (
	"net/url"
	"os"
	"regexp"
	"strings"
)

// next makes the commands in a text ones that work as they stand: they look at the same
// tables as the one that prints them, if that was told so by its flags. What the
// environment says (HAPTRAIL_DSN) it says to the next command, too.
func (w *where) next(text string) string {
	flags := w.flags()
	if flags == "" {
		return text
	}
	var b strings.Builder
	for {
		at := ownCommand.FindStringSubmatchIndex(text)
		if at == nil {
			return b.String() + text
		}
		end := at[1]
		after, takes := flagsAfter(text[at[2]:end], text[end:])
		end += after
		b.WriteString(text[:end])
		if takes {
			b.WriteString(flags)
		}
		text = text[end:]
	}
}

var (
	ownCommand = regexp.MustCompile(`\bhaptrail ([a-z]+)`)
	ownWord    = regexp.MustCompile(`^ ([a-z]+)(?:[^\w-]|$)`)
)

// flagsAfter says whether a command takes --dsn and --config, and how many bytes behind
// its name they go: after the words that choose it, as the rest may be in the middle of
// a sentence.
func flagsAfter(name, rest string) (at int, takes bool) {
	// Of those that have commands of their own these are named: whether they take them.
	more, takes := map[string]map[string]bool{
		"trail": nil, "findings": nil, "query": nil, "check": nil,
		"bursts": {"list": true, "explain": true, "expect": true, "calibrate": true, "replay": false},
		"alerts": {"list": true, "silence": true, "test": false},
	}[name]
	if !takes || rest != "" && (rest[0] == '-' || rest[0] == '_' || '0' <= rest[0] && rest[0] <= '9') {
		return 0, false
	}
	if word := ownWord.FindStringSubmatchIndex(rest); word != nil {
		if takes, own := more[rest[word[2]:word[3]]]; own {
			return word[3], takes
		}
	}
	return 0, true
}

// flags are those that lead to the tables, with a blank before each; "" if none was
// given. A DSN with a password, which others would see on the screen and in the list of
// processes, is the shell's to fill in; it says so where it cannot.
func (w *where) flags() string {
	flags := ""
	switch {
	case w.DSN == "" || w.DSN == os.Getenv("HAPTRAIL_DSN"):
	case secretDSN(w.DSN) || starred(w.DSN) != w.DSN:
		flags = ` --dsn "${HAPTRAIL_DSN:?}"`
	default:
		flags = " --dsn " + shellWord(w.DSN)
	}
	switch {
	case w.Config == "":
	case starred(w.Config) != w.Config:
		flags += " --config FILE" // no terminal may be shown its name
	default:
		flags += " --config " + shellWord(w.Config)
	}
	return flags
}

// secretDSN reports whether a DSN has a password in it. What cannot be read may have.
func secretDSN(dsn string) bool {
	scheme, _, _ := strings.Cut(dsn, ":")
	if scheme == "embedded" || scheme == "unix" {
		return false
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return true
	}
	if _, set := u.User.Password(); set {
		return true
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return true
	}
	for name := range query {
		if secretParameter.MatchString(name) {
			return true
		}
	}
	return false
}

// secretParameter is the name of a parameter whose value nobody may see; password_file
// and password_env only lead there.
var secretParameter = regexp.MustCompile(`(?i)^(.*[_-])?(pass|password|passwd|pwd|secret|token|key)$`)
