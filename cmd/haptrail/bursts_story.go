package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/haptrail/haptrail/schema"
)

// write tells of a burst to a person who has just been woken by it.
func (e *explained) write(w io.Writer, s style) {
	fmt.Fprintf(w, "Burst of %s, %s  [%s]\n\n", e.Measure, e.Severity, printable(e.ID))
	for _, part := range []struct{ name, text string }{
		{"Whose", e.whose()}, {"When", e.when()}, {"How much", e.howMuch()}, {"Why it is told", e.why()},
		{"From", e.origin()}, {"Reasons", e.reasons()}, {"Seen by", e.seenBy()},
	} {
		if part.text != "" {
			fmt.Fprintf(w, "%-*s%s\n", storyMargin, part.name, wrapped(oneLine(part.text), storyMargin, s.width))
		}
	}
	e.writeAsked(w, s)
	e.writeChart(w)
	e.writeEarlier(w, s)
	fmt.Fprintln(w, "\nTo go on:")
	for _, command := range e.Commands {
		fmt.Fprintln(w, "  "+printable(command))
	}
}

const (
	storyMargin = 16
	storyWidth  = 110 // of a line where there is no terminal, and at most
)

// wrapped breaks a text between words, with a margin for all lines but the first.
func wrapped(text string, margin, width int) string {
	if width == 0 || width > storyWidth {
		width = storyWidth
	}
	width = max(width, margin+20)
	var b strings.Builder
	at := margin
	for i, word := range strings.Split(text, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", margin))
			at = margin
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}

func (e *explained) whose() string {
	text := ""
	switch {
	case e.Identity != "":
		text = told(e.Identity)
		if e.Endpoint != "" {
			text += " at " + strings.Join(tolds(strings.Fields(e.Endpoint)), " ")
		}
	case e.Of == "frontend":
		text = "the frontend " + told(e.Key) + " of all proxies, and callers that it denied something"
	case e.Of == "address":
		text = "the client " + told(e.Key) + ", whoever it is"
	default:
		text = "the key " + told(e.Key) + ", which names no identity"
	}
	var more []string
	if e.Issuer != "" {
		more = append(more, "issuer "+told(e.Issuer))
	}
	if e.Role != "" {
		more = append(more, "role "+told(e.Role))
	}
	if len(more) > 0 {
		text += " (" + strings.Join(more, ", ") + ")"
	}
	return text
}

func tolds(words []string) []string {
	for i := range words {
		words[i] = told(words[i])
	}
	return words
}

func (e *explained) when() string {
	text := "from " + moment(e.Start) + " UTC"
	switch e.State {
	case schema.BurstOpen:
		text += "; it goes on"
	case schema.BurstLost:
		text += "; nobody saw its end, as haptrail was away or had to make room"
	default:
		text += " until " + moment(e.End) + ", " + roughly(e.End.Sub(e.Start))
	}
	if late := e.Found.Sub(e.Start); e.Found.Unix() > 0 && late > 0 {
		text += fmt.Sprintf("; found %s later", brief(late))
	}
	return text
}

// brief is a short duration with a tenth of its seconds.
func brief(d time.Duration) string {
	if d < time.Minute {
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	}
	return roughly(d)
}

func (e *explained) howMuch() string {
	text := fmt.Sprintf("%s; more than %s in that time is too much", peak(&e.BurstRow), digits(e.Limit))
	if e.Total > 0 {
		text += fmt.Sprintf(". In all %s", counted(e.Measure, e.Total))
		if e.State == schema.BurstOpen {
			text += " so far"
		}
	}
	return text + "."
}

// why says in words what the count is measured by.
func (e *explained) why() string {
	var parts []string
	switch {
	case e.Cold:
		parts = append(parts, fmt.Sprintf("it was too new for a history of its own, and was measured by what others do at most, %s%s",
			counted(e.Measure, uint64(e.High+0.5)), e.times(e.High)))
	case e.Own == 0:
		parts = append(parts, "it never did anything of the kind before")
	default:
		parts = append(parts, fmt.Sprintf("the most that it did before is %s%s", counted(e.Measure, e.Own), e.times(float64(e.Own))))
	}
	parts = append(parts, fmt.Sprintf("by its mean and spread at most %s %s expected%s", digits(e.Expected), areIs(e.Expected), e.times(float64(e.Expected))))
	return strings.ToUpper(parts[0][:1]) + parts[0][1:] + "; " + parts[1] + ". The detector says: " + strings.TrimSuffix(e.Reason, ".") + "."
}

func areIs(n uint64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// times says how many times a number the peak is, if it is more.
func (e *explained) times(of float64) string {
	if of <= 0 || float64(e.Peak) < 1.1*of {
		return ""
	}
	ratio := float64(e.Peak) / of
	if ratio < 10 {
		return " (this is " + strconv.FormatFloat(ratio, 'f', 1, 64) + " times that)"
	}
	return " (this is " + digits(uint64(ratio+0.5)) + " times that)"
}

// grades say how sure an attribution is.
var grades = map[string]string{
	"proven":       "proven: the token's signed claims name it",
	"corroborated": "corroborated: a header names it, and the CI server's record agrees",
	"inferred":     "inferred: no other run fits identity and time",
	"ambiguous":    "ambiguous: several runs fit identity and time",
}

// origin names the run and the networks.
func (e *explained) origin() string {
	var parts []string
	switch {
	case e.Denied != nil:
		all := &e.Denied.All
		parts = append(parts, count(int(all.Addresses), "address", "addresses"))
		if all.Identities > 0 {
			parts = append(parts, count(int(all.Identities), "verified identity", "verified identities"))
		}
	case e.Run != "":
		run := strings.TrimSuffix(ofRun(&e.BurstRow), " ("+e.Grade+").")
		parts = append(parts, strings.ToLower(run[:1])+run[1:]+", "+gradeWords(e.Grade))
	case e.Identity != "":
		parts = append(parts, "no run that is known")
	}
	others := 0
	for _, r := range e.Runs {
		if r.Run != "" && (r.Run != e.Run || r.Project != e.Project) {
			others++
		}
	}
	if others > 0 {
		parts = append(parts, fmt.Sprintf("and %d other %s", others, map[bool]string{true: "run", false: "runs"}[others == 1]))
	}
	for i, f := range e.From {
		if i == 3 {
			parts = append(parts, fmt.Sprintf("and %d more networks", len(e.From)-i))
			break
		}
		parts = append(parts, f.Network+" ("+counted("requests", f.Requests)+")")
	}
	return strings.Join(parts, "; ")
}

// reasons are why a frontend denied what it did, the most frequent first.
func (e *explained) reasons() string {
	if e.Denied == nil {
		return ""
	}
	var parts []string
	for i, r := range e.Denied.Reasons {
		if i == reasonsMost {
			parts = append(parts, fmt.Sprintf("and %d more", len(e.Denied.Reasons)-i))
			break
		}
		parts = append(parts, cmp.Or(told(r.Reason), "none given")+" ("+counted("denials", r.Requests)+")")
	}
	return strings.Join(parts, "; ")
}

func gradeWords(grade string) string {
	if words := grades[grade]; words != "" {
		return words
	}
	return "not attributed yet"
}

func (e *explained) seenBy() string {
	if e.Feed == schema.FeedLogs {
		return "the logs"
	}
	text := "stick table " + told(e.Feed)
	if e.Proxy != "" {
		text += " of " + told(e.Proxy)
	}
	return text
}

func (e *explained) writeAsked(w io.Writer, s style) {
	if len(e.Asked) == 0 {
		fmt.Fprintln(w, "\nWhat it asked for is not known: no log lines of it are kept.")
		return
	}
	fmt.Fprint(w, "\nWhat it asked for")
	if !e.whole {
		fmt.Fprint(w, ", the busiest kinds as they were stored with it")
	}
	fmt.Fprintln(w, ":")
	var cells [][]string
	for i, a := range e.Asked {
		if i == askedMost {
			break
		}
		cells = append(cells, []string{digits(a.Requests), a.Method, a.Endpoint, a.Decision})
	}
	writeTable(w, []string{"requests", "method", "endpoint", "decision"}, cells, s)
	if rest := len(e.Asked) - askedMost; rest > 0 {
		fmt.Fprintf(w, "and %d more.\n", rest)
	}
}

func (e *explained) writeChart(w io.Writer) {
	unit := strings.ToUpper(e.Measure[:1]) + e.Measure[1:]
	if e.Chart.most() == 0 {
		fmt.Fprintf(w, "\n%s a second: no counts are kept of that time.\n", unit)
		return
	}
	limit := ""
	if e.Window > 0 {
		limit = fmt.Sprintf("; the limit of %s in %d s is %s a second", digits(e.Limit), e.Window, perSecond(float64(e.Limit)/float64(e.Window)))
	}
	fmt.Fprintf(w, "\n%s a second, %d s a column%s:\n", unit, e.Chart.Step, limit)
	e.Chart.draw(w, e.Start)
}

func (e *explained) writeEarlier(w io.Writer, s style) {
	if e.EarlierN == 0 {
		fmt.Fprintln(w, "\nIt had no burst of the kind in the 90 days before.")
		return
	}
	fmt.Fprintf(w, "\nEarlier bursts of the kind, %d in the 90 days before", e.EarlierN)
	if e.EarlierN > len(e.Earlier) {
		fmt.Fprintf(w, ", the last %d", len(e.Earlier))
	}
	fmt.Fprintln(w, ":")
	var cells [][]string
	for i := range e.Earlier {
		r := &e.Earlier[i]
		cells = append(cells, []string{r.ID, moment(r.Start), lasted(r), r.Severity, peak(r), r.Run})
	}
	writeTable(w, []string{"id", "start", "lasted", "severity", "peak", "run"}, cells, s)
}
