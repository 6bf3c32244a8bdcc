// Package deploy holds what docker-compose.yml and the demo share, to be copied
// and changed: a policy, a HAProxy configuration beside the gate that
// "haptrail edge render" makes of it, and an Alertmanager's.
package deploy

import _ "embed"

// Policy is policy.yaml, the demo's policy file.
//
//go:embed policy.yaml
var Policy []byte

// HAProxy is haproxy.cfg, which is read after the rendered folder and lets one
// frontend in through the gate.
//
//go:embed haproxy.cfg
var HAProxy []byte

// Alertmanager is alertmanager.yml, which groups haptrail's alerts and tells nobody
// of them.
//
//go:embed alertmanager.yml
var Alertmanager []byte
