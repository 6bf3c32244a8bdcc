// Package deploy holds the configuration that docker-compose.yml and the demo
// share: an example gate (haproxy.cfg) and its maps, to be copied and changed.
package deploy

import "embed"

// Gate holds haproxy.cfg and maps/*.map under these names. The configuration
// looks for its maps and for keys/*.pem beside itself; the keys are not here,
// since they are each installation's own.
//
//go:embed haproxy.cfg maps/*.map
var Gate embed.FS
