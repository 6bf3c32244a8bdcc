//go:build !linux

package embedded

import "errors"

func childDiskFull(string) error { return errors.New("this task mounts a file system of Linux") }
