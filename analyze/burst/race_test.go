//go:build race

package burst_test

// raced: the race detector makes a replay ten times slower, and there is nothing
// concurrent in it.
const raced = true
