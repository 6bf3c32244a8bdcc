package embedded

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// What Open, Locate, Listen and Check report, for errors.Is. The errors themselves
// are *Error and carry the repair as a hint.
var (
	ErrNoLibrary    = errors.New("libchdb not found")
	ErrBadLibrary   = errors.New("libchdb cannot be used")
	ErrLocked       = errors.New("the data directory is in use by another process")
	ErrInUse        = errors.New("the engine is already open in this process")
	ErrNoPermission = errors.New("no permission")
	ErrDiskFull     = errors.New("no space left on the disk")
	ErrStart        = errors.New("the engine did not start")
	ErrGone         = errors.New("the data directory is gone or was replaced")
	ErrEndpoint     = errors.New("endpoint refused")
	ErrClosed       = errors.New("the engine is closed")
)

// Error is a failure to find, start or serve the engine.
type Error struct {
	Kind   error  // one of the Err variables
	Detail string // what was found where
	Mend   string // what to do about it, a command where there is one
	Cause  error  // the system's error, nil if there is none
}

// Error gives kind, detail, cause and mend in one line.
func (e *Error) Error() string {
	text := e.Kind.Error()
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	if e.Mend != "" {
		text += "; " + e.Mend
	}
	return text
}

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// Hint is the repair alone, for a command that prints it on its own line.
func (e *Error) Hint() string { return e.Mend }

// exception is an error of the engine, or of the handler in the engine's form.
type exception struct {
	code int
	text string // "Code: N. DB::Exception: … (NAME)"
}

func (e *exception) Error() string { return e.text }

// Codes of ClickHouse (src/Common/ErrorCodes.cpp) that the handler itself raises
// or treats by code.
const (
	codeNotImplemented   = 48
	codeSyntax           = 62
	codeUnknownFormat    = 73
	codeBadArguments     = 36
	codeReadonly         = 164
	codeRequiredPassword = 194
	codeSameQueryID      = 216
	codeAborted          = 236
	codeNotEnoughSpace   = 243
	codeCancelled        = 394
	codeTooLargeResult   = 396
	codeAccessDenied     = 497
	codeAuthentication   = 516
	codeStd              = 1001
	codeCannotDecompress = 271
	codeIncorrectData    = 117
	codeTooMany          = 202
	codeTimeout          = 159
	codeFileMissing      = 107
)

// refuse makes an exception in the engine's form.
func refuse(code int, name, format string, args ...any) *exception {
	return &exception{code: code, text: fmt.Sprintf("Code: %d. DB::Exception: %s (%s)", code, fmt.Sprintf(format, args...), name)}
}

var (
	codePrefix  = regexp.MustCompile(`^Code: (\d+)\. DB::Exception: `)
	nameSuffix  = regexp.MustCompile(` \(([A-Z0-9_]+)\)\.?$`)
	versionTail = regexp.MustCompile(` \(version [^()]*(\([^()]*\))?\)\.?`)
)

// engineError gives an error text of libchdb the form that ClickHouse's server
// would send: libchdb nests an exception in another of the same code where the
// client half of the engine passes on what its server half raised.
func engineError(text, dir string) *exception {
	text = strings.TrimSpace(versionTail.ReplaceAllString(text, ""))
	for {
		outer := codePrefix.FindString(text)
		if outer == "" || !strings.HasPrefix(text[len(outer):], outer) {
			break
		}
		text = nameSuffix.ReplaceAllString(text[len(outer):], "")
	}
	match := codePrefix.FindStringSubmatch(text)
	if match == nil {
		return refuse(codeStd, "STD_EXCEPTION", "%s", text)
	}
	code, err := strconv.Atoi(match[1])
	if err != nil {
		return refuse(codeStd, "STD_EXCEPTION", "%s", text)
	}
	if code == codeNotEnoughSpace || strings.Contains(text, "No space left on device") {
		text = addHint(text, diskHint(dir))
	}
	return &exception{code: code, text: text}
}

// addHint puts a sentence before the exception's name, where clients that cut
// the name off still show it.
func addHint(text, hint string) string {
	at := nameSuffix.FindStringIndex(text)
	if at == nil {
		return text + " " + hint
	}
	return text[:at[0]] + " " + hint + text[at[0]:]
}

// status maps an exception to the HTTP status that ClickHouse's server sends
// with it (src/Server/HTTP/exceptionCodeToHTTPStatus.cpp, the common ones).
func (e *exception) status() int {
	switch e.code {
	case codeRequiredPassword:
		return http.StatusUnauthorized
	case codeAuthentication, codeAccessDenied, codeReadonly:
		return http.StatusForbidden
	case codeSyntax, codeBadArguments, codeIncorrectData, codeCannotDecompress, 6, 27, 38, 41, 53, 70, 72, 89, 130, 456:
		return http.StatusBadRequest
	case 16, 46, 47, 60, 81, 115, codeUnknownFormat:
		return http.StatusNotFound
	case codeSameQueryID:
		return http.StatusConflict
	case codeNotImplemented:
		return http.StatusNotImplemented
	case codeTooMany, codeAborted:
		return http.StatusServiceUnavailable
	case codeTimeout:
		return http.StatusRequestTimeout
	case codeNotEnoughSpace:
		return http.StatusInsufficientStorage
	}
	return http.StatusInternalServerError
}
