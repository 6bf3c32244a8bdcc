package haproxycfg

import "slices"

// environment is what "${NAME}" of a configuration means, as the keywords of
// global sections change it (configuration manual, section 3.1).
type environment struct {
	outer func(string) (string, bool) // of the process; nil knows none
	own   map[string]string           // setenv, presetenv
	gone  map[string]bool             // unsetenv: not looked up outside any more
	keep  []string                    // resetenv: what is still looked up outside
	reset bool
}

func (e *environment) get(name string) (string, bool) {
	if v, ok := e.own[name]; ok {
		return v, true
	}
	if e.outer == nil || e.gone[name] || e.reset && !slices.Contains(e.keep, name) {
		return "", false
	}
	return e.outer(name)
}

// take obeys a line of a global section that is about the environment.
func (e *environment) take(w []string) {
	switch w[0] {
	case "setenv":
		e.set(w)
	case "presetenv":
		if len(w) > 1 {
			if _, ok := e.get(w[1]); !ok {
				e.set(w)
			}
		}
	case "unsetenv":
		if e.gone == nil {
			e.gone = make(map[string]bool)
		}
		for _, name := range w[1:] {
			delete(e.own, name)
			e.gone[name] = true
		}
	case "resetenv":
		for name := range e.own {
			if !slices.Contains(w[1:], name) {
				delete(e.own, name)
			}
		}
		if e.reset { // what an earlier one threw away does not come back
			e.keep = slices.DeleteFunc(e.keep, func(name string) bool { return !slices.Contains(w[1:], name) })
			return
		}
		e.reset, e.keep = true, slices.Clone(w[1:])
	}
}

func (e *environment) set(w []string) {
	if len(w) > 2 {
		e.own[w[1]] = w[2]
	}
}
