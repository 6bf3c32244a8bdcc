package demo

import "syscall"

// childAttributes puts a child into a group of its own, so that Ctrl-C in the
// terminal reaches only us and we end it in order; and ends it with us when we are
// killed without a chance to.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
