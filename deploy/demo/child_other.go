//go:build !linux

package demo

import "syscall"

// childAttributes puts a child into a group of its own, so that Ctrl-C in the
// terminal reaches only us and we end it in order.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
