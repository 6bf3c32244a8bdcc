package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// LibraryEnv names the environment variable that points at libchdb.
const LibraryEnv = "HAPTRAIL_LIBCHDB"

const installHint = "install it with: npm ci --prefix schema/embedded, or set " + LibraryEnv + " to the path of libchdb"

// Locate finds libchdb: $HAPTRAIL_LIBCHDB (nothing else when it is set), beside
// the executable, in ../lib/haptrail and ../schema/embedded/node_modules of it,
// in schema/embedded/node_modules of the working directory and its parents, and
// in /usr/lib/haptrail and /usr/local/lib/haptrail. The error (ErrNoLibrary)
// lists where it looked.
func Locate() (string, error) {
	if path := os.Getenv(LibraryEnv); path != "" {
		if !isFile(path) {
			return "", &Error{Kind: ErrNoLibrary, Detail: LibraryEnv + " says " + path + ", which is not a file", Mend: installHint}
		}
		return path, nil
	}
	looked := searchPath()
	for _, dir := range looked {
		for _, name := range []string{"libchdb.so", "libchdb.dylib"} {
			if path := filepath.Join(dir, name); isFile(path) {
				return path, nil
			}
		}
	}
	return "", &Error{
		Kind:   ErrNoLibrary,
		Detail: fmt.Sprintf("looked in $%s and %s", LibraryEnv, strings.Join(looked, ", ")),
		Mend:   installHint,
	}
}

// searchPath lists the directories that may hold libchdb, best first.
func searchPath() []string {
	modules := filepath.Join("schema", "embedded", "node_modules", "@chdb", "lib-"+platform())
	var dirs []string
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		bin := filepath.Dir(exe)
		dirs = append(dirs, bin, filepath.Join(bin, "..", "lib", "haptrail"), filepath.Join(bin, "..", modules))
	}
	if dir, err := os.Getwd(); err == nil {
		for {
			dirs = append(dirs, filepath.Join(dir, modules))
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	return append(dirs, "/usr/lib/haptrail", "/usr/local/lib/haptrail")
}

// platform is the suffix of libchdb's npm package for this machine.
func platform() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	if runtime.GOOS == "linux" {
		return "linux-" + arch + "-gnu"
	}
	return runtime.GOOS + "-" + arch
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
