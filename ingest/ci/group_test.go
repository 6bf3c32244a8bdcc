package ci

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// gate is an insert that waits until it is let through, and remembers what it was
// given.
type gate struct {
	let     chan error
	mu      sync.Mutex
	batches []string
	at      int // inserts on their way
	ended   int // by their ctx
}

func (g *gate) insert(ctx context.Context, facts []Fact) error {
	g.mu.Lock()
	var ids string
	for _, fact := range facts {
		ids += fact.Run.ID
	}
	g.batches = append(g.batches, ids)
	if g.at++; g.at > 1 {
		panic("two inserts at one time")
	}
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.at--
		g.mu.Unlock()
	}()
	select {
	case err := <-g.let:
		return err
	case <-ctx.Done():
		time.Sleep(time.Millisecond) // as long as an engine takes to stop
		g.mu.Lock()
		g.ended++
		g.mu.Unlock()
		return ctx.Err()
	}
}

// crowd is callers of a group, by their names, each of which has its facts' ids.
type crowd struct {
	t    *testing.T
	gate *gate
	*group
	left map[string]context.CancelFunc
	mu   sync.Mutex
	got  map[string]error
}

func newCrowd(t *testing.T, limit int) *crowd {
	c := &crowd{t: t, gate: &gate{let: make(chan error)}, left: make(map[string]context.CancelFunc), got: make(map[string]error)}
	c.group = newGroup(limit, c.gate.insert)
	return c
}

func ids(names string) []Fact {
	var facts []Fact
	for _, name := range names {
		facts = append(facts, Fact{Run: &Run{ID: string(name)}})
	}
	return facts
}

// come lets callers come one after another.
func (c *crowd) come(names ...string) {
	for _, name := range names {
		ctx, cancel := context.WithCancel(context.Background())
		c.left[name] = cancel
		go func() {
			err := c.apply(ctx, ids(name))
			c.mu.Lock()
			defer c.mu.Unlock()
			c.got[name] = err
		}()
		synctest.Wait()
	}
}

func (c *crowd) leave(names ...string) {
	for _, name := range names {
		c.left[name]()
		synctest.Wait()
	}
}

func (c *crowd) let(err error) {
	c.gate.let <- err
	synctest.Wait()
}

// check compares who has returned with what, and what was given to insert so far.
func (c *crowd) check(step string, got map[string]error, batches ...string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if fmt.Sprint(c.got) != fmt.Sprint(got) || !slices.Equal(c.gate.batches, batches) {
		c.t.Errorf("%s:\nhave %v %q\nwant %v %q", step, c.got, c.gate.batches, got, batches)
	}
}

type returned = map[string]error

func TestGroup(t *testing.T) {
	failed := errors.New("the disk is full")
	for name, story := range map[string]func(c *crowd){
		"who comes meanwhile is inserted together": func(c *crowd) {
			c.come("a", "b", "c", "d")
			c.check("a is on its way", returned{}, "a")
			c.let(nil)
			c.check("the others are", returned{"a": nil}, "a", "bcd")
			c.come("e")
			c.let(failed)
			c.check("an error is that of its batch", returned{"a": nil, "b": failed, "c": failed, "d": failed}, "a", "bcd", "e")
			c.let(nil)
			c.check("no other's", returned{"a": nil, "b": failed, "c": failed, "d": failed, "e": nil}, "a", "bcd", "e")
		},
		"who leaves does not take the others along": func(c *crowd) {
			c.come("a", "b", "c", "d")
			c.let(nil) // b, c or d inserts for all three
			c.leave("b", "c")
			c.check("two have left", returned{"a": nil, "b": context.Canceled, "c": context.Canceled}, "a", "bcd")
			c.let(nil)
			c.check("one waits", returned{"a": nil, "b": context.Canceled, "c": context.Canceled, "d": nil}, "a", "bcd")
		},
		"the last who leaves ends the insert, and sees it end": func(c *crowd) {
			c.come("a", "b")
			c.leave("a")
			time.Sleep(time.Millisecond)
			synctest.Wait()
			c.check("the next begins", returned{"a": context.Canceled}, "a", "b")
			if c.gate.ended != 1 {
				c.t.Errorf("%d inserts were ended", c.gate.ended)
			}
			c.let(nil)
			c.check("and is stored", returned{"a": context.Canceled, "b": nil}, "a", "b")
		},
		"who leaves before his turn": func(c *crowd) {
			c.come("a", "b", "c")
			c.leave("b")
			c.check("others wait with his facts", returned{"b": context.Canceled}, "a")
			c.leave("c")
			c.let(nil)
			c.check("nobody waited", returned{"a": nil, "b": context.Canceled, "c": context.Canceled}, "a")
			c.come("d")
			c.let(nil)
			c.check("it goes on", returned{"a": nil, "b": context.Canceled, "c": context.Canceled, "d": nil}, "a", "d")
		},
		"a full batch": func(c *crowd) {
			c.come("a", "bcd", "e", "f")
			c.check("e and f wait for room", returned{}, "a")
			c.leave("f")
			c.let(nil)
			c.check("there is room", returned{"a": nil, "f": context.Canceled}, "a", "bcd")
			c.let(nil)
			c.let(nil)
			c.check("nothing is lost", returned{"a": nil, "bcd": nil, "e": nil, "f": context.Canceled}, "a", "bcd", "e")
		},
		"a full batch that is given up": func(c *crowd) {
			c.come("a", "bcd", "e")
			c.leave("bcd")
			c.let(nil)
			c.let(nil)
			c.check("e had room", returned{"a": nil, "bcd": context.Canceled, "e": nil}, "a", "e")
		},
		"more than a batch": func(c *crowd) {
			c.come("abcdefg")
			c.let(nil)
			c.let(nil)
			c.check("two of three are stored", returned{}, "abc", "def", "g")
			c.let(failed)
			c.check("the last is not", returned{"abcdefg": failed}, "abc", "def", "g")
		},
		"nothing": func(c *crowd) {
			if err := c.apply(context.Background(), nil); err != nil {
				c.t.Error(err)
			}
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			if err := c.apply(ended, ids("a")); !errors.Is(err, context.Canceled) {
				c.t.Error(err)
			}
			c.check("no insert", returned{})
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { story(newCrowd(t, 3)) }) })
	}
}

// Many callers with deadlines, inserts that are slow, hang or fail: what Apply says
// is stored is, one insert is on its way at a time, and nothing goes on after the
// last caller has returned (synctest would say so).
func TestGroupKeepsItsWord(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			var (
				mu      sync.Mutex
				random  = rand.New(rand.NewPCG(seed, 1))
				number  = func(n int) int { mu.Lock(); defer mu.Unlock(); return random.IntN(n) }
				stored  = make(map[string]bool)
				inserts int
				busy    bool
			)
			g := newGroup(20, func(ctx context.Context, facts []Fact) error {
				mu.Lock()
				if busy || len(facts) == 0 || len(facts) > 2*20 {
					t.Errorf("%d facts, beside another insert: %t", len(facts), busy)
				}
				busy, inserts = true, inserts+1
				mu.Unlock()
				outcome := number(4)
				select {
				case <-time.After(time.Duration(1+number(20)) * time.Millisecond):
				case <-ctx.Done():
				}
				mu.Lock()
				defer mu.Unlock()
				busy = false
				if outcome == 0 {
					return errors.New("failed")
				} else if ctx.Err() != nil {
					return ctx.Err()
				}
				for _, fact := range facts {
					stored[fact.Run.ID] = true
				}
				return nil
			})
			var callers sync.WaitGroup
			const n = 200
			good := 0
			for i := range n {
				callers.Go(func() {
					time.Sleep(time.Duration(number(200)) * time.Millisecond)
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+number(60))*time.Millisecond)
					defer cancel()
					var facts []Fact
					for part := range 1 + number(6) {
						facts = append(facts, Fact{Run: &Run{ID: strconv.Itoa(i) + "." + strconv.Itoa(part)}})
					}
					err := g.apply(ctx, facts)
					mu.Lock()
					defer mu.Unlock()
					for _, fact := range facts {
						if err == nil && !stored[fact.Run.ID] {
							t.Errorf("%s is not stored, as Apply said", fact.Run.ID)
						}
					}
					if err == nil {
						good++
					}
				})
			}
			callers.Wait()
			if good == 0 || inserts == 0 || inserts >= n || busy {
				t.Errorf("%d of %d callers in %d inserts, one still on its way: %t", good, n, inserts, busy)
			}
		})
	}
}
