package schema

import (
	"crypto/sha256"
	"encoding/binary"
)

// callerClaims are the columns that tell one caller from another: the identity
// that was verified, its token, what it claims, and the run that its header
// names. Their order is that of the DEFAULT in sql/migrations/0021_caller.sql.
func (b *RequestBlock) callerClaims() [callerColumns]*Dict {
	return [callerColumns]*Dict{
		&b.Provider, &b.Issuer, &b.Subject, &b.TokenID, &b.Project, &b.Job, &b.Run,
		&b.RunAttempt, &b.Ref, &b.Commit, &b.Actor, &b.Runner, &b.ClaimedRun,
	}
}

const (
	callerColumns = 13
	callerSubject = 2 // the subject's place among them
)

// Callers is a column that a block computes from its others: who made the
// request, as a number (see Caller). Rows repeat the same few callers, which
// dictionary keys tell apart without a look at their texts.
type Callers struct{ fixed }

func (c *Callers) fill(claims [callerColumns]*Dict, rows int) {
	c.width, c.buf = 8, c.buf[:0]
	known := map[[callerColumns]uint32]uint64{}
	var keys, before [callerColumns]uint32
	var caller uint64
	for row := range rows {
		for i, d := range claims {
			if len(d.entries) > 0 {
				keys[i] = d.keys[row]
			}
		}
		if row == 0 || keys != before {
			var ok bool
			if caller, ok = known[keys]; !ok {
				caller = callerOf(claims, keys)
				known[keys] = caller
			}
			before = keys
		}
		c.buf = binary.LittleEndian.AppendUint64(c.buf, caller)
	}
}

func callerOf(claims [callerColumns]*Dict, keys [callerColumns]uint32) uint64 {
	return caller(func(i int) []byte {
		d := claims[i]
		if len(d.entries) == 0 {
			return nil
		}
		e := d.entries[keys[i]]
		return d.values[e.start:e.end]
	})
}

// Caller is the number of a caller: half of the SHA-256 of its claims, each
// behind a zero byte but the first, as the column's DEFAULT computes it. 0 where
// no subject was verified: nobody.
func Caller(claims [callerColumns]string) uint64 {
	return caller(func(i int) []byte { return []byte(claims[i]) })
}

func caller(claim func(i int) []byte) uint64 {
	if len(claim(callerSubject)) == 0 {
		return 0
	}
	text := make([]byte, 0, 512)
	for i := range callerColumns {
		if i > 0 {
			text = append(text, 0)
		}
		text = append(text, claim(i)...)
	}
	sum := sha256.Sum256(text)
	return binary.LittleEndian.Uint64(sum[:])
}
