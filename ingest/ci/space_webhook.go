package ci

import (
	"bytes"
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Headers of a delivery (jetbrains.com/help/space, "Verify Space in application").
const (
	spaceTimestampHeader = "X-Space-Timestamp"            // epoch milliseconds
	spaceHMACHeader      = "X-Space-Signature"            // lower-case hex
	spaceRSAHeader       = "X-Space-Public-Key-Signature" // standard base64
)

// SpaceVerification says how Space proves that a delivery is its own, as the
// webhook's endpoint is set up there: exactly one of the four.
type SpaceVerification struct {
	// PublicKeys is an RSA signature, by keys that are fetched from the server: no
	// shared secret. Recommended; needs ClientID and the API's credentials.
	PublicKeys bool
	// SigningKey is an HMAC by the endpoint's signing key.
	SigningKey Secret
	// Bearer is a token in Authorization; BasicUser and BasicPassword are a name and
	// a password there. They prove the sender, not the content, and nothing keeps
	// a delivery from being replayed: use them over TLS only.
	Bearer        Secret
	BasicUser     string
	BasicPassword Secret

	// Window is how far a signature's timestamp may be from our clock, either way;
	// 0 is 5 minutes. Space sends a failed delivery again up to three times; whether
	// with a new timestamp is not documented: widen it if retries are refused.
	Window time.Duration
}

// setVerification makes the one way to verify deliveries.
func (s *Space) setVerification() error {
	v := s.config.Webhooks
	var ways []func(context.Context, Delivery) error
	if v.PublicKeys {
		if s.tokens == nil || s.config.ClientID == "" {
			return errors.New("space: Webhooks.PublicKeys: needs ClientID, and ClientSecret or PermanentToken, to fetch the keys")
		}
		s.keys = newSpaceKeys(s.fetchKeys, s.config.Now)
		ways = append(ways, s.signedByKey)
	}
	if v.SigningKey != nil {
		ways = append(ways, s.signedByHMAC)
	}
	if v.Bearer != nil {
		ways = append(ways, s.sentByBearer)
	}
	if v.BasicPassword != nil {
		ways = append(ways, s.sentByBasic)
	}
	switch {
	case len(ways) > 1:
		return errors.New("space: Webhooks: configure one of PublicKeys, SigningKey, Bearer and BasicPassword: an attacker would take the weakest")
	case v.Window < 0:
		return errors.New("space: Webhooks.Window: write a positive duration, such as 5m")
	case (v.BasicUser != "") != (v.BasicPassword != nil):
		return errors.New("space: Webhooks: BasicUser and BasicPassword go together")
	case v.Window == 0:
		s.config.Webhooks.Window = 5 * time.Minute
	}
	s.verifyWith = func(context.Context, Delivery) error {
		return errors.New("no way to verify is configured: set one of Webhooks")
	}
	if len(ways) == 1 {
		s.verifyWith = ways[0]
	}
	return nil
}

// Webhook is Source's. Space has no delivery id: a delivery that came before is
// one with the same body; for a job's event, one with the same webhookId,
// executionId, status.new and meta.timestamp. Merge makes nothing of it either way.
func (s *Space) Webhook(ctx context.Context, d Delivery) ([]Fact, error) {
	if err := s.verifyWith(ctx, d); err != nil {
		if errors.Is(err, errSpaceKeys) {
			return nil, fmt.Errorf("space webhook: %w", err)
		}
		return nil, fmt.Errorf("space webhook: %w: %w", ErrUnverified, err)
	}
	facts, err := s.read(d.Body)
	if err != nil {
		return nil, fmt.Errorf("space webhook: %w", err)
	}
	return facts, nil
}

// timestamp is the signed time of a delivery, as it was written.
func (s *Space) timestamp(d Delivery) (string, error) {
	text, err := spaceHeader(d.Header, spaceTimestampHeader)
	if err != nil {
		return "", err
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms < 0 || ms >= spaceYear10000 {
		return "", errors.New(spaceTimestampHeader + " is not a time in milliseconds")
	}
	window := s.config.Webhooks.Window
	if off := d.Received.Sub(time.UnixMilli(ms)); off > window || off < -window {
		return "", fmt.Errorf("%s is %v from our clock, more than Webhooks.Window (%v): a replay, a late retry, or clocks that differ",
			spaceTimestampHeader, off.Round(time.Second), window)
	}
	return text, nil
}

// spaceHeader is a header that is there once.
func spaceHeader(h http.Header, name string) (string, error) {
	switch values := h.Values(name); {
	case len(values) == 1 && values[0] != "":
		return values[0], nil
	case len(values) > 1:
		return "", errors.New(name + " is there twice")
	}
	return "", errors.New(name + " is missing: is the verification of the endpoint in Space the one that is configured here?")
}

func (s *Space) signedByHMAC(_ context.Context, d Delivery) error {
	timestamp, err := s.timestamp(d)
	if err != nil {
		return err
	}
	text, err := spaceHeader(d.Header, spaceHMACHeader)
	if err != nil {
		return err
	}
	signature, err := hex.DecodeString(text)
	if err != nil {
		return errors.New(spaceHMACHeader + " is no hex")
	}
	key, err := s.config.Webhooks.SigningKey()
	if err != nil {
		return fmt.Errorf("Webhooks.SigningKey: %w", err)
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(timestamp + ":"))
	mac.Write(d.Body)
	if !hmac.Equal(mac.Sum(nil), signature) {
		return errors.New(spaceHMACHeader + " does not fit the body")
	}
	return nil
}

func (s *Space) signedByKey(ctx context.Context, d Delivery) error {
	timestamp, err := s.timestamp(d)
	if err != nil {
		return err
	}
	text, err := spaceHeader(d.Header, spaceRSAHeader)
	if err != nil {
		return err
	}
	signature, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return errors.New(spaceRSAHeader + " is no base64")
	}
	// The keys are our application's: one of another, which anybody on the server
	// may have made, is not to speak for ours.
	var envelope struct {
		ClientID spaceText `json:"clientId"`
	}
	if json.Unmarshal(d.Body, &envelope) == nil && envelope.ClientID != "" && string(envelope.ClientID) != s.config.ClientID {
		return errors.New("clientId names another application than ClientID")
	}
	digest := sha512.New()
	digest.Write([]byte(timestamp + ":"))
	digest.Write(d.Body)
	hash := digest.Sum(nil)
	return s.keys.verify(ctx, func(key *rsa.PublicKey) bool {
		return rsa.VerifyPKCS1v15(key, crypto.SHA512, hash, signature) == nil
	})
}

func (s *Space) sentByBearer(_ context.Context, d Delivery) error {
	want, err := s.config.Webhooks.Bearer()
	if err != nil {
		return fmt.Errorf("Webhooks.Bearer: %w", err)
	}
	have, err := spaceHeader(d.Header, "Authorization")
	if err != nil {
		return err
	}
	if !spaceSame(have, "Bearer "+want) {
		return errors.New("the header Authorization is not Webhooks.Bearer")
	}
	return nil
}

func (s *Space) sentByBasic(_ context.Context, d Delivery) error {
	password, err := s.config.Webhooks.BasicPassword()
	if err != nil {
		return fmt.Errorf("Webhooks.BasicPassword: %w", err)
	}
	have, err := spaceHeader(d.Header, "Authorization")
	if err != nil {
		return err
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(s.config.Webhooks.BasicUser+":"+password))
	if !spaceSame(have, want) {
		return errors.New("the header Authorization is not Webhooks.BasicUser and BasicPassword")
	}
	return nil
}

// spaceSame compares secrets in constant time, whatever their lengths.
func spaceSame(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// read turns a genuine body into facts. Bodies hold secrets now and then
// (InitPayload, ChangeClientSecretPayload): what is not an event is not looked at
// any further, and errors show fields, never values.
func (s *Space) read(body []byte) ([]Fact, error) {
	if body = bytes.TrimSpace(body); len(body) == 0 {
		return nil, fmt.Errorf("%w: the body is empty", ErrMalformed)
	}
	var envelope struct {
		ClassName spaceText       `json:"className"`
		Payload   json.RawMessage `json:"payload"`
	}
	if err := spaceDecode(body, &envelope); err != nil {
		return nil, err
	}
	switch {
	case envelope.Payload == nil: // a custom body, or a payload of its own
		return s.readPayload(body, string(envelope.ClassName))
	case envelope.Payload[0] != '{' && string(envelope.Payload) != "null":
		return nil, fmt.Errorf("%w: payload is %s, where an object belongs", ErrMalformed, spaceKind(envelope.Payload))
	}
	facts, err := s.readPayload(envelope.Payload, "")
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	return facts, nil
}

// spaceReader is an event that tells facts.
type spaceReader interface {
	facts(s *Space) ([]Fact, error)
}

func (s *Space) readPayload(payload []byte, class string) ([]Fact, error) {
	if class == "" {
		var probe spaceProbe
		if err := spaceDecode(payload, &probe); err != nil {
			return nil, err
		}
		class = probe.class()
	}
	var event spaceReader
	switch class {
	case "AutomationJobEvent":
		event = new(spaceJobEvent)
	case "SRepoPushWebhookEvent":
		event = new(spacePush)
	case "SRepoCommitsWebhookEvent":
		event = new(spaceCommitted)
	case "SRepoHeadsWebhookEvent":
		event = new(spaceHeads)
	case "ApplicationWebhookEvent", "ApplicationAuthorizedWebhookEvent":
		event = new(spaceAppEvent)
	default: // PingWebhookEvent, InitPayload, and what is yet to be invented
		return nil, nil
	}
	if err := spaceDecode(payload, event); err != nil {
		return nil, err
	}
	return event.facts(s)
}

// spaceProbe finds out what a custom body is that was set up without className.
type spaceProbe struct {
	ClassName  spaceText       `json:"className"`
	Execution  json.RawMessage `json:"executionId"`
	Repository json.RawMessage `json:"repository"`
	Commits    json.RawMessage `json:"commits"`
	Commit     json.RawMessage `json:"commit"`
	Changes    json.RawMessage `json:"changes"`
}

func (p spaceProbe) class() string {
	switch {
	case p.ClassName != "":
		return string(p.ClassName)
	case p.Execution != nil:
		return "AutomationJobEvent"
	case p.Repository == nil:
		return ""
	case p.Commits != nil:
		return "SRepoPushWebhookEvent"
	case p.Commit != nil:
		return "SRepoCommitsWebhookEvent"
	case p.Changes != nil:
		return "SRepoHeadsWebhookEvent"
	}
	return ""
}
