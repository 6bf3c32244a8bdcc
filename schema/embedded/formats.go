package embedded

import (
	"errors"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

// maxWholeResult bounds, in bytes before formatting, a result that cannot be
// streamed: it is held in memory as a whole.
const maxWholeResult = "536870912"

// streamFormats are the formats whose chunks put together are the whole:
// libchdb gives each chunk the header and footer of its format, so only formats
// without these can be streamed.
var streamFormats = map[string]bool{
	"native": true, "tabseparated": true, "tsv": true, "tabseparatedraw": true, "tsvraw": true, "raw": true,
	"csv": true, "jsoneachrow": true, "jsonlines": true, "ndjson": true, "jsonstringseachrow": true,
	"jsoncompacteachrow": true, "jsoncompactstringseachrow": true, "rowbinary": true, "tskv": true, "rawblob": true,
}

func streamable(format, sql string, q *request) bool {
	const array = "output_format_json_array_of_rows" // puts brackets around all rows
	return streamFormats[strings.ToLower(format)] && q.settings[array] == "" && !strings.Contains(sql, array)
}

// explainLimit adds to the engine's error about maxWholeResult how to get more.
func explainLimit(err error, format string) error {
	var ex *exception
	if !errors.As(err, &ex) || ex.code != codeTooLargeResult {
		return err
	}
	return &exception{ex.code, addHint(ex.text, "A result in format "+format+
		" is built in memory: take Native, TSV, CSV or JSONEachRow, which are streamed, or set max_result_bytes.")}
}

// hello is the first query of clickhouse-go.
const hello = "SELECT displayName(), version(), revision(), timezone()"

// isHello tells whether q is clickhouse-go's first query, which asks for an
// answer at its own protocol revision. The engine does not know about revisions.
func (e *Engine) isHello(q *request, sql string) bool {
	return q.revision != "" && q.format == "Native" && sql == hello
}

// writeHello answers it: at the revision the client named, saying that the
// server is of revision 0, so that all later blocks are plain Native.
func (e *Engine) writeHello(out *reply, q *request) error {
	revision, err := strconv.Atoi(q.revision)
	if err != nil {
		return refuse(codeBadArguments, "BAD_ARGUMENTS", "client_protocol_version %q is not a number", q.revision)
	}
	text := func(s string) *proto.ColStr {
		c := new(proto.ColStr)
		c.Append(s)
		return c
	}
	var buf proto.Buffer
	block := proto.Block{Info: proto.BlockInfo{BucketNum: -1}, Columns: 4, Rows: 1}
	if err := block.EncodeBlock(&buf, revision, []proto.InputColumn{
		{Name: "displayName()", Data: text("haptrail")},
		{Name: "version()", Data: text(e.version)},
		{Name: "revision()", Data: &proto.ColUInt32{0}},
		{Name: "timezone()", Data: text(e.timezone)},
	}); err != nil {
		return err
	}
	if _, err := out.out.Write(buf.Buf); err != nil {
		return err
	}
	return out.finish()
}

// emptyBlock is a Native block without rows that tells a SELECT's columns: the
// engine sends nothing at all for an empty result, and clients would not know
// the columns. It is empty where the columns cannot be asked for.
func emptyBlock(s *session, sql string, params []param) []byte {
	r, err := s.query("DESCRIBE TABLE ("+sql+"\n)", "RowBinary", params)
	if err != nil {
		return nil
	}
	defer r.free()
	rows := proto.NewReader(strings.NewReader(string(r.bytes())))
	var columns []string // name, type, name, type, …
	for {
		name, err := rows.Str()
		if err != nil {
			break
		}
		columns = append(columns, name)
		for field := range 6 { // type, default type and expression, comment, codec, TTL
			text, err := rows.Str()
			if err != nil {
				return nil
			}
			if field == 0 {
				columns = append(columns, text)
			}
		}
	}
	var buf proto.Buffer
	buf.PutInt(len(columns) / 2)
	buf.PutInt(0)
	for _, text := range columns {
		buf.PutString(text)
	}
	return buf.Buf
}
