package citest

import (
	"bytes"
	"context"
	"net/http"
	"time"
)

// Delivery is a webhook of a fake TeamCity or GitLab, ready to be sent. It has the
// fields of ci.Delivery, and converts to it.
type Delivery struct {
	Header   http.Header
	Body     []byte
	Received time.Time // when it is sent, by the fake's clock
}

// Send posts the delivery as it is, once, and gives the status of the answer.
func (d Delivery) Send(ctx context.Context, client *http.Client, url string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(d.Body))
	if err != nil {
		return 0, err
	}
	request.Header = d.Header.Clone()
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}
