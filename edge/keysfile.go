package edge

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/haptrail/haptrail/edge/keys"
	"github.com/haptrail/haptrail/edge/policy"
	"github.com/haptrail/haptrail/runtimeapi"
)

// storeSince is the first branch that takes a verification key at run time: a
// certificate in a crt-store with "jwt on", verified with jwt_verify_cert.
// Older ones know the files that their configuration names, and no others.
var storeSince = runtimeapi.Version{Major: 3, Minor: 3}

// TakesKeys reports whether a HAProxy takes a new key without a reload.
func TakesKeys(v runtimeapi.Version) bool { return v.AtLeast(storeSince.Major, storeSince.Minor) }

// KeyName is what the gate calls a key's file: the PEM's path, or the
// certificate's name in the crt-store.
func KeyName(key keys.Key, o Options) string {
	if o.RuntimeKeys {
		return storeName(CertificateFile(key))
	}
	return path.Join(o.Base, key.File)
}

// storeName is a certificate's name in HAProxy's crt-store; "" for other files.
func storeName(file string) string {
	below, found := strings.CutPrefix(file, "keys/")
	if !found || path.Ext(file) != ".crt" {
		return ""
	}
	return "@haptrail/" + below
}

// CertificateFile is the slash path of a key's certificate, beside its PEM.
func CertificateFile(key keys.Key) string {
	return strings.TrimSuffix(key.File, path.Ext(key.File)) + ".crt"
}

// preload is one line of keys.cfg.
type preload struct {
	Algorithm string // any that fits the key: it is the file that is loaded
	Path      string
}

// keysFile is what keys.cfg.tmpl shows.
type keysFile struct {
	Options
	Branch       string
	Preloads     []preload
	Certificates []string // below Base/keys
}

func renderKeys(files Files, p *policy.Policy, stored *keys.Store, o Options) error {
	known := slices.DeleteFunc(stored.Keys(), func(key keys.Key) bool {
		return !slices.ContainsFunc(p.Issuers, func(i policy.Issuer) bool { return i.Name == key.Issuer })
	})
	if o.RuntimeKeys {
		for _, key := range known {
			certificate, err := stored.Certificate(key)
			if err != nil {
				return err
			}
			files[CertificateFile(key)] = certificate
		}
	}
	data := keysFile{Options: o, Branch: branch(o.Version)}
	for _, key := range known {
		line := preload{Algorithm: key.Algorithms[0], Path: path.Join(o.Base, key.File)}
		if !slices.Contains(data.Preloads, line) { // one key under two kids
			data.Preloads = append(data.Preloads, line)
			data.Certificates = append(data.Certificates, strings.TrimPrefix(CertificateFile(key), "keys/"))
		}
	}
	text, err := expand("keys.cfg.tmpl", data)
	if err != nil {
		return err
	}
	files[KeysFile] = text
	files[KeysMap] = keyMap(known, func(key keys.Key) string { return KeyName(key, o) }).text()
	return nil
}

// KeySource is where an issuer's keys come from.
func KeySource(issuer *policy.Issuer) keys.Source {
	return keys.Source{
		Issuer: issuer.Name, URL: issuer.JWKS, Algorithms: issuer.Algorithms, Overlap: time.Duration(issuer.KeyOverlap),
	}
}
