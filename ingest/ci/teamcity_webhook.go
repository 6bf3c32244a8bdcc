package ci

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

// teamcityEvents are the events whose payload is a build (JetBrains/teamcity-webhooks,
// RestApiProducer). Those of agents are not ours.
var teamcityEvents = []string{
	"BUILD_TYPE_ADDED_TO_QUEUE", "BUILD_REMOVED_FROM_QUEUE", "CHANGES_LOADED", "BUILD_STARTED", "BUILD_FINISHED", "BUILD_INTERRUPTED",
	"BUILD_PROBLEMS_CHANGED", "FAILURE_DETECTED", "MARKED_AS_SUCCESSFUL",
}

// Webhook takes {"eventType": ..., "payload": ...}, where the payload is a build as
// the REST API gives it at the moment of sending. It is a hint, and Poll is the
// reliable feed: TeamCity does not send again (teamcity.internal.webhooks
// .retry_count is 0), and its administrator chooses the fields. A payload without
// id or buildType(projectId) gives nothing.
func (t *TeamCity) Webhook(_ context.Context, d Delivery) ([]Fact, error) {
	if err := t.verify(d); err != nil {
		return nil, err
	}
	var message struct {
		EventType string          `json:"eventType"`
		Payload   json.RawMessage `json:"payload"`
	}
	if err := decodeHook(d.Body, &message); err != nil {
		return nil, err
	}
	if !slices.Contains(teamcityEvents, message.EventType) || len(message.Payload) == 0 {
		return nil, nil
	}
	var build struct {
		Payload teamcityBuild `json:"payload"`
	}
	if err := decodeHook(d.Body, &build); err != nil {
		return nil, err
	}
	return build.Payload.facts(message.EventType, false), nil
}

// verify compares what the delivery has with what is configured.
func (t *TeamCity) verify(d Delivery) error {
	hook := t.config.Webhook
	if hook.User == "" && hook.Header == "" {
		return fmt.Errorf("%w: teamcity: no user and password, and no header, is configured for its webhooks", ErrUnverified)
	}
	if hook.Header != "" {
		if ok, err := anySecret(d.Header.Get(hook.Header), hook.Values); ok {
			return nil
		} else if err != nil {
			return fmt.Errorf("teamcity: webhook: the value of %s: %w", hook.Header, err)
		}
	}
	if hook.User != "" {
		user, password, ok := (&http.Request{Header: d.Header}).BasicAuth()
		right, err := anySecret(password, hook.Passwords)
		if known, _ := anySecret(user, []Secret{SecretValue(hook.User)}); ok && right && known {
			return nil
		}
		if err != nil {
			return fmt.Errorf("teamcity: webhook: password: %w", err)
		}
	}
	if hook.Header == "" && d.Header.Get("Authorization") == "" {
		return fmt.Errorf("%w: teamcity: the delivery has no user and password: TeamCity 2026.1 may not send a parameter of the type password; use a header, or a plain parameter", ErrUnverified)
	}
	return fmt.Errorf("%w: teamcity: the delivery's credentials are not those configured", ErrUnverified)
}
