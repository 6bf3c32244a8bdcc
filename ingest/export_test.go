package ingest

import (
	"bufio"
	"context"
	"io"
)

// Chunks is how a file is cut.
func Chunks(r io.Reader) (texts []string, err error) {
	chunks, buffers := make(chan chunk), make(chan []byte, 1)
	buffers <- nil
	done := make(chan error, 1)
	go func() {
		done <- splitFile(context.Background(), &LogFile{Reader: bufio.NewReader(r)}, chunks, buffers)
		close(chunks)
	}()
	for c := range chunks {
		texts = append(texts, string(c.text))
		buffers <- c.text
	}
	return texts, <-done
}
