//go:build !race

package burst_test

const raced = false
