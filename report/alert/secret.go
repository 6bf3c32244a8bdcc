package alert

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Secret gives a credential, or a URL that is one, when it is needed. As a function
// it has no text of its own: neither %v nor a JSON encoder nor a structured log can
// show what it gives. nil is a secret that was not configured.
type Secret func() (string, error)

// SecretFile is a secret in a file, read each time, so that it can be rotated under
// a running daemon. Blanks and line ends around it are not part of it.
func SecretFile(path string) Secret {
	return func() (string, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		value := strings.TrimSpace(string(text))
		if value == "" {
			return "", fmt.Errorf("%s is empty: write the secret into it", path)
		}
		return value, nil
	}
}

// SecretEnv is a secret in a variable of the environment.
func SecretEnv(name string) Secret {
	return func() (string, error) {
		value := strings.TrimSpace(os.Getenv(name))
		if value == "" {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		return value, nil
	}
}

// SecretValue is a secret that the caller has already read.
func SecretValue(value string) Secret {
	return func() (string, error) {
		if value == "" {
			return "", errors.New("the secret is empty")
		}
		return value, nil
	}
}
