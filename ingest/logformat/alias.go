package logformat

// grammar tells how an item's value is written, and so how it is read.
type grammar uint8

const (
	gText       grammar = iota // any bytes
	gHash                      // bytes below 0x20, above 0x7E, `"` and `#` as #XX
	gRequest                   // %r: METHOD URI HTTP/x.y, encoded like gHash
	gInt                       // decimal, perhaps signed
	gHexInt                    // upper-case hexadecimal, from %{+X}
	gAddr                      // IPv4, IPv6 without brackets, or "unix"
	gHexAddr                   // 8 or 32 hexadecimal digits
	gDate                      // 23/Nov/2026:11:10:03.499, local time
	gDateZone                  // 23/Nov/2026:11:10:03 +0000
	gEpoch                     // seconds since the epoch
	gHexEpoch                  // the same under %{+X}
	gMillis                    // 000 to 999
	gHexMillis                 // the same under %{+X}
	gEpochMs                   // %Ts%ms without anything between
	gName                      // the id of a proxy or server, or an applet in <>
	gTransport                 // %ft: a name, with "~" behind it on TLS
	gState                     // two letters
	gStateCk                   // four letters
	gHeaders                   // {a|b}, nothing at all when nothing was captured
	gHeaderList                // one word for each capture
)

// alias is one HAProxy log-format alias.
type alias struct {
	name    string
	field   Field
	grammar grammar
	quoted  bool // %{+Q} puts quotes around it
	since   string
}

// aliases are those of HAProxy 2.4 to 3.2 (configuration manual 8.2.6; source
// src/log.c). A field of NumFields means that the value goes to Record.Extra
// or, for "ms", into AcceptTime. %o, which only sets flags, is not among them.
var aliases = [...]alias{
	{"B", BytesRead, gInt, false, ""},
	{"CC", RequestCookie, gText, true, ""},
	{"CS", ResponseCookie, gText, true, ""},
	{"H", Hostname, gText, true, ""},
	{"HM", Method, gHash, true, ""},
	{"HP", Path, gHash, true, ""},
	{"HPO", Path, gHash, true, ""},
	{"HQ", Query, gHash, true, ""},
	{"HU", URI, gHash, true, ""},
	{"HV", HTTPVersion, gHash, true, ""},
	{"ID", UniqueID, gText, true, ""},
	{"OG", LogOrigin, gName, true, "3.2"},
	{"ST", Status, gInt, false, ""},
	{"T", AcceptTime, gDateZone, false, ""},
	{"TR", TimerTR, gInt, false, ""},
	{"Ta", TimerTa, gInt, false, ""},
	{"Tc", TimerTc, gInt, false, ""},
	{"Td", TimerTd, gInt, false, ""},
	{"Th", TimerTh, gInt, false, ""},
	{"Ti", TimerTi, gInt, false, ""},
	{"Tl", AcceptTime, gDateZone, false, ""},
	{"Tq", TimerTq, gInt, false, ""},
	{"Tr", TimerTr, gInt, false, ""},
	{"Ts", AcceptTime, gEpoch, false, ""},
	{"Tt", TimerTt, gInt, false, ""},
	{"Tu", TimerTu, gInt, false, ""},
	{"Tw", TimerTw, gInt, false, ""},
	{"U", BytesSent, gInt, false, ""},
	{"ac", ActConn, gInt, false, ""},
	{"b", Backend, gName, true, ""},
	{"bc", BeConn, gInt, false, ""},
	{"bi", BackendAddr, gAddr, true, ""},
	{"bp", BackendPort, gInt, false, ""},
	{"bq", BackendQueue, gInt, false, ""},
	{"ci", ClientAddr, gAddr, true, ""},
	{"cp", ClientPort, gInt, false, ""},
	{"f", Frontend, gName, true, ""},
	{"fc", FeConn, gInt, false, ""},
	{"fi", FrontendAddr, gAddr, true, ""},
	{"fp", FrontendPort, gInt, false, ""},
	{"ft", Frontend, gTransport, true, ""},
	{"hr", RequestHeaders, gHeaders, true, ""},
	{"hrl", RequestHeaders, gHeaderList, true, ""},
	{"hs", ResponseHeaders, gHeaders, true, ""},
	{"hsl", ResponseHeaders, gHeaderList, true, ""},
	{"lc", LogCounter, gInt, false, ""},
	{"ms", AcceptTime, gMillis, false, ""},
	{"pid", PID, gInt, false, ""},
	{"r", URI, gRequest, true, ""},
	{"rc", Retries, gInt, false, ""},
	{"rt", RequestCounter, gInt, false, ""},
	{"s", Server, gName, true, ""},
	{"sc", SrvConn, gInt, false, ""},
	{"si", ServerAddr, gAddr, true, ""},
	{"sp", ServerPort, gInt, false, ""},
	{"sq", SrvQueue, gInt, false, ""},
	{"sslc", TLSCipher, gText, true, ""},
	{"sslv", TLSVersion, gText, true, ""},
	{"t", AcceptTime, gDate, false, ""},
	{"tr", RequestTime, gDate, false, ""},
	{"trg", RequestTime, gDateZone, false, ""},
	{"trl", RequestTime, gDateZone, false, ""},
	{"ts", TerminationState, gState, false, ""},
	{"tsc", TerminationState, gStateCk, false, ""},
}

func findAlias(name string) (alias, bool) {
	for _, a := range aliases {
		if a.name == name {
			return a, true
		}
	}
	return alias{}, false
}

// hex is the grammar that %{+X} gives a value, and whether it gives one: the
// other aliases ignore the flag.
func (a alias) hex() (grammar, bool) {
	switch a.name {
	case "ci", "fi", "bi", "si":
		return gHexAddr, true
	case "cp", "fp", "bp", "sp", "lc", "rt", "pid":
		return gHexInt, true
	case "Ts":
		return gHexEpoch, true
	case "ms":
		return gHexMillis, true
	}
	return a.grammar, false
}

// nearestAlias is the alias that somebody who wrote name probably meant: the
// one with the least edit cost. "" when none is near.
func nearestAlias(name string) string {
	best, bestCost := "", min(7, 3*len(name))
	for _, a := range aliases {
		if c := editCost(name, a.name); c < bestCost {
			best, bestCost = a.name, c
		}
	}
	return best
}

// editCost is what it takes to turn a into b: 3 for a letter more, less or
// changed, 2 for two letters swapped, 1 for a change of letter case.
func editCost(a, b string) int {
	a = a[:min(len(a), 16)]
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		for j := range rows[i] {
			switch {
			case i == 0 || j == 0:
				rows[i][j] = 3 * (i + j)
				continue
			case a[i-1] == b[j-1]:
				rows[i][j] = rows[i-1][j-1]
			case a[i-1]|0x20 == b[j-1]|0x20:
				rows[i][j] = rows[i-1][j-1] + 1
			default:
				rows[i][j] = rows[i-1][j-1] + 3
			}
			rows[i][j] = min(rows[i][j], rows[i-1][j]+3, rows[i][j-1]+3)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+2)
			}
		}
	}
	return rows[len(a)][len(b)]
}
