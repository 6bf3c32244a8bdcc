// Package bench measures what haptrail costs; its README says how to read the
// figures. It is benchmarks alone, so it holds no code but tests:
//
//	bench/run                            all of it, some minutes
//	go test -bench TCP -benchtime 1x .   a part of it
//
//	traffic/   makes the lines, always the same ones for a seed
//	generate/  writes them to standard output
package bench
