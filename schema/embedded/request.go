package embedded

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Limits of what a request may be, in bytes.
const (
	maxStatement = 16 << 20 // text of a statement, without an INSERT's data
	maxQueryID   = 256
)

// request is what a client wants, as ClickHouse's HTTP interface puts it: URL
// parameters, headers and body.
type request struct {
	id       string // query id, made up if the client gave none
	database string
	format   string // default_format, "" if not given
	settings map[string]string
	params   []param
	rights   rights
	whole    bool   // wait_end_of_query: answer only when all is known
	revision string // client_protocol_version, "" if not given

	codec  string // Content-Encoding of the answer, "" for none
	framed bool   // compress=1: the answer comes in ClickHouse's compressed frames

	text string    // statement, or the part of it that came in the URL
	body io.Reader // rest of the statement, or an INSERT's data
}

// Parameters that are no settings, beside those that parseRequest reads.
var ignoredParams = map[string]bool{
	"user": true, "password": true, "quota_key": true, "buffer_size": true, "stacktrace": true,
	"session_timeout": true, "session_check": true, "close_session": true, "http_zlib_compression_level": true,
	"send_progress_in_http_headers": true, "http_headers_progress_interval_ms": true,
	"add_http_cors_header": true, "log_queries": true,
	// The engine keeps no query log; the session's log_comment carries the query id.
	"log_comment": true,
}

var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// parseRequest reads everything but the body.
func parseRequest(r *http.Request, rights rights) (*request, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(codeBadArguments, "BAD_ARGUMENTS", "URL parameters: %v", err)
	}
	if rights == rightsAll && asksReadOnly(values) {
		rights = rightsRead
	}
	q := &request{
		rights:   rights,
		settings: make(map[string]string),
		database: r.Header.Get("X-ClickHouse-Database"),
		format:   r.Header.Get("X-ClickHouse-Format"),
		body:     r.Body,
	}
	if r.Method != http.MethodPost && rights == rightsAll {
		q.rights = rightsGet
	}
	if r.Body == nil || r.Method != http.MethodPost {
		q.body = http.NoBody
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		if err := readForm(r, values); err != nil {
			return nil, err
		}
		q.body = http.NoBody
	}
	accept := r.Header.Get("Accept-Encoding")
	decompress := false
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name][len(values[name])-1]
		if err := q.take(name, value); err != nil {
			return nil, err
		}
		decompress = decompress || name == "decompress" && isOn(value)
		if name == "enable_http_compression" && !isOn(value) {
			accept = ""
		}
	}
	q.id = cmp.Or(q.id, uuid.NewString())
	if !q.framed {
		q.codec = chooseCodec(accept)
	}
	q.body, err = decodeBody(q.body, r.Header.Get("Content-Encoding"), decompress)
	return q, err
}

// asksReadOnly tells whether a user with all rights gives up those that a
// read-only user has not, by readonly=1 or 2 (or anything but 0): ClickHouse's
// own readonly leaves files and INTO OUTFILE open.
func asksReadOnly(values url.Values) bool {
	return slices.ContainsFunc(values["readonly"], func(value string) bool { return value != "0" })
}

// take reads one URL parameter; what ClickHouse does not know is a setting.
func (q *request) take(name, value string) error {
	switch name {
	case "query":
		q.text = value
	case "database":
		q.database = value
	case "default_format":
		q.format = value
	case "query_id":
		if len(value) > maxQueryID || strings.ContainsRune(value, 0) {
			return refuse(codeBadArguments, "BAD_ARGUMENTS", "query_id is longer than %d bytes or has a zero byte", maxQueryID)
		}
		q.id = value
	case "client_protocol_version":
		q.revision = value
	case "wait_end_of_query":
		q.whole = isOn(value)
	case "compress":
		q.framed = isOn(value)
	case "decompress", "enable_http_compression":
	case "session_id", "role":
		return refuse(codeNotImplemented, "NOT_IMPLEMENTED", "parameter %s: the embedded engine gives each request a session of its own", name)
	default:
		return q.takeSetting(name, value)
	}
	return nil
}

func (q *request) takeSetting(name, value string) error {
	if p, ok := strings.CutPrefix(name, "param_"); ok {
		q.params = append(q.params, param{p, value})
		return nil
	}
	switch {
	case ignoredParams[name]:
		return nil
	case !settingName.MatchString(name):
		return refuse(codeBadArguments, "BAD_ARGUMENTS", "%q is no name of a setting", name)
	case q.rights == rightsRead && name == "readonly" && value != "0":
		return nil // it is stricter already
	case q.rights == rightsRead && !readerSettings[name]:
		return refuse(codeReadonly, "READONLY", "Cannot modify '%s' setting in readonly mode.", name)
	}
	q.settings[name] = value
	return nil
}

func isOn(value string) bool { return value != "" && value != "0" && value != "false" }

// readForm adds a multipart form's fields to the URL parameters.
func readForm(r *http.Request, values url.Values) error {
	reader, err := r.MultipartReader()
	if err != nil {
		return refuse(codeBadArguments, "BAD_ARGUMENTS", "form: %v", err)
	}
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return refuse(codeBadArguments, "BAD_ARGUMENTS", "form: %v", err)
		}
		name := part.FormName()
		if name != "query" && !strings.HasPrefix(name, "param_") {
			return refuse(codeNotImplemented, "NOT_IMPLEMENTED", "form field %q: external tables are not supported by the embedded engine; use a temporary-table-free query or a parameter of type Array", name)
		}
		text, err := io.ReadAll(io.LimitReader(part, maxStatement+1))
		if err != nil || len(text) > maxStatement {
			return refuse(codeBadArguments, "BAD_ARGUMENTS", "form field %q: cut off, or longer than %d bytes", name, maxStatement)
		}
		values.Set(name, string(text))
	}
}

// statement is what to run: sql, or an INSERT with its data.
type statement struct {
	sql    string
	insert *insertHead // nil unless the request brings data for an INSERT
	data   io.Reader   // the INSERT's
}

// readStatement takes the statement from the URL and the body, and of an
// INSERT's data no more than came along with its head.
func (q *request) readStatement() (statement, error) {
	if head, state := parseInsertHead(q.text, false); state == headDone {
		inline := strings.NewReader(q.text[head.data:])
		return statement{insert: &head, data: io.MultiReader(inline, q.body)}, nil
	}
	// The head of an INSERT may be spread over URL and body.
	body := bufio.NewReaderSize(q.body, 64<<10)
	text := []byte(q.text)
	if len(text) > 0 {
		text = append(text, '\n')
	}
	parsed := 0
	for {
		_, err := body.Peek(1) // waits for what there is, but not for more
		if err != nil && !errors.Is(err, io.EOF) {
			return statement{}, err
		}
		chunk, _ := body.Peek(body.Buffered())
		text = append(text, chunk...)
		body.Discard(len(chunk))
		if len(text) > maxStatement {
			return statement{}, refuse(codeSyntax, "SYNTAX_ERROR", "the statement is longer than %d bytes", maxStatement)
		}
		if whole := err != nil; whole || len(text) >= 2*parsed {
			parsed = len(text)
			head, state := parseInsertHead(string(text), whole)
			if state == headDone {
				inline := strings.NewReader(string(text[head.data:]))
				return statement{insert: &head, data: io.MultiReader(inline, body)}, nil
			}
			if whole {
				return statement{sql: strings.TrimSpace(string(text))}, nil
			}
		}
	}
}

// prepare brings the session into the state that the request asks for.
func (q *request) prepare(s *session) error {
	if q.database != "" {
		if err := s.exec("USE " + quoteName(q.database)); err != nil {
			return err
		}
	}
	var set []string
	for _, name := range slices.Sorted(maps.Keys(q.settings)) {
		if name != "readonly" {
			set = append(set, name+" = "+quote(q.settings[name]))
		}
	}
	if len(set) > 0 {
		if err := s.exec("SET " + strings.Join(set, ", ")); err != nil {
			return err
		}
	}
	return q.restrict(s)
}

// restrict takes from the session what the request may not do. It comes last:
// nothing can be set afterwards.
func (q *request) restrict(s *session) error {
	switch q.rights {
	case rightsRead:
		if err := s.exec("SET ROLE " + readerRole); err != nil {
			return err
		}
		return s.exec("SET readonly = 1")
	case rightsGet:
		return s.exec("SET readonly = 2")
	}
	return nil
}
