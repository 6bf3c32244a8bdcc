package embedded

import (
	"debug/elf"
	"debug/macho"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is the part of libchdb's C interface (chdb.h of release 26.7) that
// the engine uses. Lengths are size_t, handles are opaque pointers of C.
type library struct {
	path string

	setSignalHandlers func(enabled int32)
	connect           func(argc int32, argv **byte) unsafe.Pointer // chdb_connection *, null on failure
	closeConn         func(handle unsafe.Pointer)
	classify          func(conn unsafe.Pointer, sql *byte, n uintptr, database *byte, dn uintptr, out *analysis) int32

	query       startFunc
	stream      startFunc
	fetch       func(conn, stream unsafe.Pointer) unsafe.Pointer
	cancelQuery func(conn, stream unsafe.Pointer)

	insert        startFunc
	insertError   func(stream unsafe.Pointer) unsafe.Pointer
	insertAppend  func(stream unsafe.Pointer, data *byte, n uintptr) int32
	insertDone    func(stream unsafe.Pointer) unsafe.Pointer
	insertCancel  func(stream unsafe.Pointer)
	insertDestroy func(stream unsafe.Pointer)

	resultBuffer  func(result unsafe.Pointer) unsafe.Pointer
	resultLength  func(result unsafe.Pointer) uintptr
	resultError   func(result unsafe.Pointer) unsafe.Pointer
	rowsRead      func(result unsafe.Pointer) uint64
	bytesRead     func(result unsafe.Pointer) uint64
	rowsWritten   func(result unsafe.Pointer) uint64
	bytesWritten  func(result unsafe.Pointer) uint64
	destroyResult func(result unsafe.Pointer)
}

// startFunc starts a statement with parameters: chdb_query_with_params_n and its
// streaming siblings have the same form. It gives a handle.
type startFunc func(conn unsafe.Pointer, sql *byte, n uintptr, format *byte, fn uintptr,
	names **byte, nameLens *uintptr, values **byte, valueLens *uintptr, count uintptr) unsafe.Pointer

// analysis is chdb_query_analysis_v1.
type analysis struct {
	size       uint32 // of this struct, set by the caller
	statements uint32 // 0: did not parse
	_          uint32 // flags
	class      uint32
}

// Classes of statements (chdb_query_class): read-only ones leave no trace.
const classReadOnly = 0

// load opens libchdb. Opening the same file again is cheap and gives the same
// library: it cannot be unloaded.
func load(path string) (*library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, &Error{Kind: ErrBadLibrary, Detail: describe(path), Cause: err, Mend: installHint}
	}
	l := &library{path: path}
	for name, fn := range l.symbols() {
		address, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, &Error{Kind: ErrBadLibrary, Detail: path + " is too old: it has no " + name, Mend: installHint}
		}
		purego.RegisterFunc(fn, address)
	}
	// Before any connection, or the Go runtime loses its signals.
	l.setSignalHandlers(0)
	return l, nil
}

func (l *library) symbols() map[string]any {
	return map[string]any{
		"chdb_set_signal_handlers_enabled": &l.setSignalHandlers,
		"chdb_connect":                     &l.connect,
		"chdb_close_conn":                  &l.closeConn,
		"chdb_classify_query_n":            &l.classify,
		"chdb_query_with_params_n":         &l.query,
		"chdb_stream_query_with_params_n":  &l.stream,
		"chdb_stream_fetch_result":         &l.fetch,
		"chdb_stream_cancel_query":         &l.cancelQuery,
		"chdb_stream_insert_with_params_n": &l.insert,
		"chdb_stream_insert_error":         &l.insertError,
		"chdb_stream_append":               &l.insertAppend,
		"chdb_stream_done":                 &l.insertDone,
		"chdb_stream_cancel_insert":        &l.insertCancel,
		"chdb_destroy_insert_stream":       &l.insertDestroy,
		"chdb_result_buffer":               &l.resultBuffer,
		"chdb_result_length":               &l.resultLength,
		"chdb_result_error":                &l.resultError,
		"chdb_result_storage_rows_read":    &l.rowsRead,
		"chdb_result_storage_bytes_read":   &l.bytesRead,
		"chdb_result_rows_written":         &l.rowsWritten,
		"chdb_result_bytes_written":        &l.bytesWritten,
		"chdb_destroy_query_result":        &l.destroyResult,
	}
}

// describe says what a file that cannot be loaded is.
func describe(path string) string {
	if f, err := elf.Open(path); err == nil {
		defer f.Close()
		if f.Machine == map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH] {
			return path // something else is wrong, which the linker says
		}
		return fmt.Sprintf("%s is built for %v, this machine is %s/%s", path, f.Machine, runtime.GOOS, runtime.GOARCH)
	}
	f, err := macho.Open(path)
	if err == nil {
		defer f.Close()
		return fmt.Sprintf("%s is built for macOS %v, this machine is %s/%s", path, f.Cpu, runtime.GOOS, runtime.GOARCH)
	}
	var format *macho.FormatError
	if errors.As(err, &format) {
		return path + " is not a shared library"
	}
	return path
}

// goString copies a string of C, "" for null.
func goString(p unsafe.Pointer) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}
