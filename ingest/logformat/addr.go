package logformat

// readClient reads the client's address. IPv4 is the common case and is read
// in one pass.
func (r *Record) readClient(o *op, line []byte, pos int) (int, ParseReason) {
	p := pos
	for octet := range 4 {
		n, start := uint(0), p
		for p < len(line) && p-start < 4 {
			d := line[p] - '0'
			if d > 9 {
				break
			}
			n = n*10 + uint(d)
			p++
		}
		if p == start || n > 255 || octet < 3 && (p >= len(line) || line[p] != '.') {
			return r.readOtherClient(o, line, pos)
		}
		r.Addr[12+octet] = byte(n)
		if octet < 3 {
			p++
		}
	}
	clear(r.Addr[:10])
	r.Addr[10], r.Addr[11] = 0xff, 0xff
	r.mark(ClientAddr)
	return p, OK
}

func (r *Record) readOtherClient(o *op, line []byte, pos int) (int, ParseReason) {
	end, why := r.readTyped(o, line, pos)
	if why == BadAddress && addrEnd(line, pos, o.first) == len(line) {
		why = Short
	}
	return end, why
}

// addrEnd returns where the address at pos ends. An IPv6 address has no
// brackets: when a colon and a port follow it, the last colon is theirs.
func addrEnd(line []byte, pos int, next byte) int {
	const unix = "unix"
	if len(line)-pos >= len(unix) && string(line[pos:pos+len(unix)]) == unix {
		return pos + len(unix)
	}
	colon, colons, end := -1, 0, pos
	for end < len(line) && isAddrByte(line[end]) {
		if line[end] == ':' {
			colon = end
			colons++
		} else if line[end] == '.' && colons == 1 && next == ':' && line[pos] != ':' {
			break
		}
		end++
	}
	if next == ':' && colon >= 0 {
		return colon
	}
	return end
}

func isAddrByte(b byte) bool {
	return isDigit(b) || b == ':' || b == '.' || b|0x20 >= 'a' && b|0x20 <= 'f'
}

// parseAddr reads an IPv4 or IPv6 address into its 16-byte form. (netip would
// want a string, and allocates for its errors.)
func parseAddr(v []byte) (addr [16]byte, ok bool) {
	for _, c := range v {
		if c == ':' {
			return parseIPv6(v)
		}
	}
	addr[10], addr[11] = 0xff, 0xff
	return addr, parseIPv4(v, addr[12:])
}

func parseIPv4(v []byte, to []byte) bool {
	octet, n, digits := 0, 0, 0
	for _, c := range v {
		switch {
		case c == '.' && digits > 0 && octet < 3:
			to[octet] = byte(n)
			octet++
			n, digits = 0, 0
		case isDigit(c) && digits < 3:
			n = n*10 + int(c-'0')
			digits++
			if n > 255 {
				return false
			}
		default:
			return false
		}
	}
	if octet != 3 || digits == 0 {
		return false
	}
	to[3] = byte(n)
	return true
}

func parseIPv6(v []byte) (addr [16]byte, ok bool) {
	at, gap := 0, -1 // bytes written, and where "::" stood
	if len(v) >= 2 && v[0] == ':' && v[1] == ':' {
		gap = 0
		v = v[2:]
	}
	for len(v) > 0 {
		if at == 16 {
			return addr, false
		}
		n, digits := 0, 0
		for digits < len(v) && digits < 4 && unhex[v[digits]] < 16 {
			n = n<<4 | int(unhex[v[digits]])
			digits++
		}
		if digits < len(v) && v[digits] == '.' {
			if at > 12 || !parseIPv4(v, addr[at:at+4]) {
				return addr, false
			}
			at += 4
			break
		}
		if digits == 0 {
			return addr, false
		}
		addr[at], addr[at+1] = byte(n>>8), byte(n)
		at += 2
		v = v[digits:]
		if len(v) == 0 {
			break
		}
		if v[0] != ':' || len(v) == 1 {
			return addr, false
		}
		v = v[1:]
		if v[0] == ':' {
			if gap >= 0 {
				return addr, false
			}
			gap = at
			v = v[1:]
		}
	}
	if gap < 0 {
		return addr, at == 16
	}
	if at == 16 {
		return addr, false
	}
	moved := copy(addr[16-(at-gap):], addr[gap:at])
	clear(addr[gap : 16-moved])
	return addr, true
}

// hexAddr reads the 8 or 32 digits of %{+X}ci.
func hexAddr(v []byte) (addr [16]byte, ok bool) {
	to := addr[:]
	switch len(v) {
	case 8:
		addr[10], addr[11] = 0xff, 0xff
		to = addr[12:]
	case 32:
	default:
		return addr, false
	}
	for i := range to {
		high, low := unhex[v[2*i]], unhex[v[2*i+1]]
		if high > 15 || low > 15 {
			return addr, false
		}
		to[i] = high<<4 | low
	}
	return addr, true
}
