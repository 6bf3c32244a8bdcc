package embedded

import (
	"runtime"
	"strings"
	"unsafe"
)

// param is a server-side query parameter; its value is in the escaped text
// form of ClickHouse's HTTP interface.
type param struct{ name, value string }

// session is one connection to libchdb. It runs one statement at a time and
// must not be used by two goroutines at once.
type session struct {
	engine *Engine
	lib    *library
	handle unsafe.Pointer // chdb_connection *
	conn   unsafe.Pointer // *handle, what the functions take
}

// open makes a session. args are further --name=value arguments, which
// libchdb takes as settings of this session alone.
func (l *library) open(args []string) (handle, conn unsafe.Pointer) {
	argv := make([]*byte, 0, len(args)+1)
	for _, arg := range append([]string{"clickhouse"}, args...) {
		argv = append(argv, unsafe.StringData(arg+"\x00"))
	}
	handle = l.connect(int32(len(argv)), unsafe.SliceData(argv))
	runtime.KeepAlive(argv)
	if handle == nil {
		return nil, nil
	}
	return handle, *(*unsafe.Pointer)(handle)
}

func (s *session) close() {
	s.lib.closeConn(s.handle)
	s.handle, s.conn = nil, nil
}

// start calls one of libchdb's functions that start a statement.
func (s *session) start(f startFunc, sql, format string, params []param) unsafe.Pointer {
	n := len(params)
	names, values := make([]*byte, n), make([]*byte, n)
	nameLens, valueLens := make([]uintptr, n), make([]uintptr, n)
	for i, p := range params {
		names[i], nameLens[i] = unsafe.StringData(p.name), uintptr(len(p.name))
		values[i], valueLens[i] = unsafe.StringData(p.value), uintptr(len(p.value))
	}
	handle := f(s.conn, unsafe.StringData(sql), uintptr(len(sql)), unsafe.StringData(format), uintptr(len(format)),
		unsafe.SliceData(names), unsafe.SliceData(nameLens), unsafe.SliceData(values), unsafe.SliceData(valueLens), uintptr(n))
	// C saw addresses only: what they point at must have lived until here.
	runtime.KeepAlive(names)
	runtime.KeepAlive(values)
	runtime.KeepAlive(nameLens)
	runtime.KeepAlive(valueLens)
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	return handle
}

// result is a finished result or a chunk of one, in memory of libchdb.
type result struct {
	lib    *library
	handle unsafe.Pointer
}

// bytes is the result's text. It is gone after free.
func (r *result) bytes() []byte {
	n := r.lib.resultLength(r.handle)
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(r.lib.resultBuffer(r.handle)), n)
}

func (r *result) free() { r.lib.destroyResult(r.handle) }

// progress counts what a statement read and wrote.
type progress struct{ readRows, readBytes, writtenRows, writtenBytes uint64 }

func (r *result) progress() progress {
	return progress{
		readRows: r.lib.rowsRead(r.handle), readBytes: r.lib.bytesRead(r.handle),
		writtenRows: r.lib.rowsWritten(r.handle), writtenBytes: r.lib.bytesWritten(r.handle),
	}
}

// take wraps a result handle, or gives its error and frees it.
func (s *session) take(handle unsafe.Pointer) (*result, error) {
	if handle == nil {
		return nil, refuse(codeStd, "STD_EXCEPTION", "libchdb gave no result")
	}
	if text := goString(s.lib.resultError(handle)); text != "" {
		s.lib.destroyResult(handle)
		return nil, engineError(text, s.engine.dir)
	}
	return &result{lib: s.lib, handle: handle}, nil
}

// query runs a statement and gives its whole result in memory.
func (s *session) query(sql, format string, params []param) (*result, error) {
	handle := s.start(s.lib.query, sql, format, params)
	return s.take(handle)
}

// exec runs a statement whose result does not matter.
func (s *session) exec(sql string) error {
	r, err := s.query(sql, "TSV", nil)
	if err != nil {
		return err
	}
	r.free()
	return nil
}

// scalar gives the result of a statement as raw text.
func (s *session) scalar(sql string, params ...param) (string, error) {
	r, err := s.query(sql, "RawBLOB", params)
	if err != nil {
		return "", err
	}
	defer r.free()
	return string(r.bytes()), nil
}

// analyze asks the engine's own parser what sql is, without running it.
func (s *session) analyze(sql string) analysis {
	out := analysis{size: uint32(unsafe.Sizeof(analysis{})), class: ^uint32(0)}
	s.lib.classify(s.conn, unsafe.StringData(sql), uintptr(len(sql)), nil, 0, &out)
	return out
}

// stream is a SELECT whose result comes in chunks.
type stream struct {
	session *session
	handle  unsafe.Pointer
	ended   bool
}

// errNoStream is how libchdb refuses to stream SHOW, DESCRIBE and the like.
const errNoStream = "Streaming query is not supported"

// stream starts a SELECT. For statements that libchdb cannot stream it gives
// nil and no error: query runs those.
func (s *session) stream(sql, format string, params []param) (*stream, error) {
	handle := s.start(s.lib.stream, sql, format, params)
	r, err := s.take(handle)
	if err != nil {
		if strings.Contains(err.Error(), errNoStream) {
			return nil, nil
		}
		return nil, err
	}
	return &stream{session: s, handle: r.handle}, nil
}

// next gives the next chunk, nil at the end. The caller frees it.
func (st *stream) next() (*result, error) {
	r, err := st.session.take(st.session.lib.fetch(st.session.conn, st.handle))
	if err != nil {
		st.ended = true
		return nil, err
	}
	if st.session.lib.resultLength(r.handle) == 0 {
		st.ended = true
		r.free()
		return nil, nil
	}
	return r, nil
}

// close ends the stream. An unfinished one must have been killed before, or
// this waits until its current step is done.
func (st *stream) close() {
	if !st.ended {
		st.session.lib.cancelQuery(st.session.conn, st.handle)
	}
	st.session.lib.destroyResult(st.handle)
}

// insertion is an INSERT that takes its data in pieces of any size. Nothing of
// it is kept unless commit succeeds, as long as it fits the engine's
// min_insert_block_size_rows and _bytes; beyond these the engine writes a part
// each, as ClickHouse's server does.
type insertion struct {
	session *session
	handle  unsafe.Pointer
}

// insert starts an INSERT; sql has no FORMAT clause and no data.
func (s *session) insert(sql, format string, params []param) (*insertion, error) {
	handle := s.start(s.lib.insert, sql, format, params)
	if text := goString(s.lib.insertError(handle)); text != "" {
		s.lib.insertDestroy(handle)
		return nil, engineError(text, s.engine.dir)
	}
	return &insertion{session: s, handle: handle}, nil
}

// Write hands data to the engine, which copies it; it blocks while the engine
// is busy. After a failure commit tells the cause.
func (in *insertion) Write(data []byte) (int, error) {
	if len(data) == 0 {
		return 0, nil
	}
	state := in.session.lib.insertAppend(in.handle, unsafe.SliceData(data), uintptr(len(data)))
	runtime.KeepAlive(data)
	if state != 0 {
		return 0, errInsertFailed
	}
	return len(data), nil
}

// errInsertFailed stops the copying of a body; the engine's own error follows
// from commit.
var errInsertFailed = refuse(codeStd, "STD_EXCEPTION", "the engine refused the data")

// commit ends the data and makes the rows visible. The insertion is over
// afterwards in any case.
func (in *insertion) commit() (progress, error) {
	defer in.session.lib.insertDestroy(in.handle)
	r, err := in.session.take(in.session.lib.insertDone(in.handle))
	if err != nil {
		return progress{}, err
	}
	defer r.free()
	return r.progress(), nil
}

// cancel drops the insertion and its data.
func (in *insertion) cancel() {
	in.session.lib.insertCancel(in.handle)
	in.session.lib.insertDestroy(in.handle)
}

// quote makes a string literal of ClickHouse's SQL.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// quoteName makes a quoted identifier.
func quoteName(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}

// escapeParam gives a value the form that a parameter of type String takes.
func escapeParam(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`).Replace(s)
}
