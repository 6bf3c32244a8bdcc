package ci

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Secret gives a credential when it is needed. As a function it has no text of its
// own: neither %v nor a JSON encoder nor a structured log can show what it gives.
// nil is a secret that was not configured.
type Secret func() (string, error)

// SecretValue is a secret that the caller has already read.
func SecretValue(value string) Secret {
	return func() (string, error) {
		if value == "" {
			return "", errors.New("the secret is empty")
		}
		return value, nil
	}
}

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
