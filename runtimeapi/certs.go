package runtimeapi

import (
	"context"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// JWTCerts lists the certificates that jwt_verify_cert may use, by the names that
// HAProxy knows them by: a path, or @STORE/NAME for one of a crt-store (level
// admin, HAProxy 3.3; "show ssl jwt", management guide 9.3).
func (c *Client) JWTCerts(ctx context.Context) ([]string, error) {
	if err := c.needsJWTCerts(ctx); err != nil {
		return nil, err
	}
	return c.jwtCerts(ctx)
}

func (c *Client) jwtCerts(ctx context.Context) ([]string, error) {
	cmd := of("show", "ssl", "jwt")
	reply, err := c.ask(ctx, cmd)
	if err != nil || reply == "" { // 3.3 says nothing where it has no certificate at all
		return nil, err
	}
	rest, ok := strings.CutPrefix(reply, "# filename\n")
	if !ok {
		return nil, c.to.misread(cmd.name, reply, errors.New(`the first line is not "# filename"`))
	}
	return strings.FieldsFunc(rest, func(r rune) bool { return r == '\n' }), nil
}

// PutJWTCert makes jwt_verify_cert accept tokens signed by the key of a
// certificate, without a reload (level admin, HAProxy 3.3). name is what the
// converter's argument, or a map, calls it; a certificate of that name is
// replaced. chain is PEM, the signer's certificate first: certificates only, for
// HAProxy needs no private key for this and shall get none.
//
// The certificate is compared by its fingerprint before it is committed; on an
// error a new name is removed again, and an old certificate goes on to be used.
// Like all changes here it is gone with the next reload, unless a crt-store of
// the configuration loads it.
func (c *Client) PutJWTCert(ctx context.Context, name string, chain []byte) error {
	if err := checkCertName(name); err != nil {
		return err
	}
	payload, fingerprint, err := certPayload(chain)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", name, err)
	}
	if err := c.needsJWTCerts(ctx); err != nil {
		return err
	}
	created, err := c.newCert(ctx, name)
	if err != nil {
		return err
	}
	if err := c.loadCert(ctx, name, payload, fingerprint); err != nil {
		return errors.Join(err, c.dropCert(ctx, name, created))
	}
	if err := c.do(ctx, of("add", "ssl", "jwt", name)); err != nil {
		return errors.Join(err, c.dropCert(ctx, name, created))
	}
	names, err := c.jwtCerts(ctx)
	if err == nil && !slices.Contains(names, name) {
		err = &CommandError{Address: c.to.String(), Command: "show ssl jwt", Kind: ErrMismatch, Cause: fmt.Errorf("%s is not in it", name)}
	}
	return err
}

// DelJWTCert makes HAProxy refuse tokens signed by that certificate, and forgets
// it (level admin, HAProxy 3.3). ErrNotFound: it has none of that name.
func (c *Client) DelJWTCert(ctx context.Context, name string) error {
	if err := checkCertName(name); err != nil {
		return err
	}
	if err := c.needsJWTCerts(ctx); err != nil {
		return err
	}
	if err := c.do(ctx, of("del", "ssl", "jwt", name)); err != nil {
		return err
	}
	return c.expect(ctx, of("del", "ssl", "cert", name), " deleted!")
}

// needsJWTCerts asks for the version, so that an old HAProxy gives a clear error
// instead of its list of commands.
func (c *Client) needsJWTCerts(ctx context.Context) error {
	v, err := c.Version(ctx)
	if err != nil {
		return err
	}
	if !v.AtLeast(3, 3) {
		return fmt.Errorf("haproxy %s: JWT certificates: %w: it is %v and 3.3 is needed; before it, new keys need files and a reload", c.to, ErrUnsupported, v)
	}
	return nil
}

// expect sends a command whose success is a message with one of these texts in it.
func (c *Client) expect(ctx context.Context, cmd command, successes ...string) error {
	reply, err := c.ask(ctx, cmd)
	if err != nil {
		return err
	}
	for _, text := range successes {
		if strings.Contains(reply, text) {
			return nil
		}
	}
	return c.to.refuse(cmd.name, classify(reply), reply)
}

// newCert makes an empty certificate; created is false if there is one already.
func (c *Client) newCert(ctx context.Context, name string) (created bool, err error) {
	cmd := of("new", "ssl", "cert", name)
	reply, err := c.ask(ctx, cmd)
	switch {
	case err != nil:
		return false, err
	case strings.Contains(reply, "New empty certificate store"):
		return true, nil
	case strings.Contains(reply, "already exists!"):
		return false, nil
	}
	return false, c.to.refuse(cmd.name, classify(reply), reply)
}

// loadCert sends the certificate, reads it back from HAProxy's transaction
// ("*name"), and commits.
func (c *Client) loadCert(ctx context.Context, name, payload, fingerprint string) error {
	set := of("set", "ssl", "cert", name)
	set.payload = payload
	if err := c.expect(ctx, set, "Transaction created for certificate", "Transaction updated for certificate"); err != nil {
		return err
	}
	show := of("show", "ssl", "cert", "*"+name)
	if err := c.expect(ctx, show, "SHA1 FingerPrint: "+fingerprint+"\n"); err != nil {
		return err
	}
	return c.expect(ctx, of("commit", "ssl", "cert", name), "Success!")
}

// dropCert undoes a PutJWTCert that did not come to its end. That there is
// nothing to undo is no error.
func (c *Client) dropCert(ctx context.Context, name string, created bool) error {
	after, cancel := c.aftermath(ctx)
	defer cancel()
	err := c.expect(after, of("abort", "ssl", "cert", name),
		"Transaction aborted", "No ongoing transaction", "The ongoing transaction is about") // of another's
	if !created {
		return err
	}
	return errors.Join(err, c.expect(after, of("del", "ssl", "cert", name), " deleted!"))
}

// certPayload checks a PEM chain and writes it as HAProxy can take it, without a
// blank line, which would end the payload. fingerprint is the first one's SHA-1
// in upper-case hex, which is all that HAProxy shows of a certificate.
func certPayload(chain []byte) (payload, fingerprint string, err error) {
	var b strings.Builder
	for {
		var block *pem.Block
		if block, chain = pem.Decode(chain); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return "", "", fmt.Errorf("it has a block %q; only CERTIFICATE may be sent, and no private key", block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return "", "", err
		}
		if fingerprint == "" {
			sum := sha1.Sum(block.Bytes)
			fingerprint = strings.ToUpper(hex.EncodeToString(sum[:]))
		}
		b.Write(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
	}
	if fingerprint == "" {
		return "", "", errors.New("it has no PEM block CERTIFICATE; a bare public key needs a (self-signed) certificate around it")
	}
	return b.String(), fingerprint, nil
}

// checkCertName refuses "*", which names the certificate of a transaction.
func checkCertName(name string) error {
	if strings.HasPrefix(name, "*") {
		return fmt.Errorf("certificate name %.60q: %w: a leading * means a transaction", name, ErrInexpressible)
	}
	return checkArg("certificate name", name)
}
