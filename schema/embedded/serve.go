package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// maxClients is how many connections an endpoint keeps open; further ones wait.
const maxClients = 256

// Endpoint is where an engine can be reached from outside the process.
type Endpoint struct {
	// Network is "unix" or "tcp".
	Network string
	// Address is a path for unix, host:port for tcp. The host must be of this
	// machine (127.0.0.1, ::1, localhost): the interface has no TLS.
	Address string
	// Access must name users with passwords for tcp. A unix socket is for the
	// process's own user (mode 0600) and needs none.
	Access Access
}

// Server is a bound endpoint. Serve or Close it.
type Server struct {
	engine   *Engine
	listener net.Listener
	server   *http.Server
}

// Listen binds an endpoint. It refuses (ErrEndpoint) what would open the engine
// to others than meant, and a unix socket on which someone answers; a stale one
// it replaces.
func (e *Engine) Listen(ep Endpoint) (*Server, error) {
	s := &Server{engine: e}
	var err error
	switch ep.Network {
	case "unix":
		s.listener, err = listenUnix(ep.Address)
	case "tcp":
		s.listener, err = listenLoopback(ep)
	default:
		err = &Error{Kind: ErrEndpoint, Detail: fmt.Sprintf("network %q", ep.Network), Mend: "take unix or tcp"}
	}
	if err != nil {
		return nil, err
	}
	s.server = &http.Server{
		Handler:           e.Handler(ep.Access),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(e.logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

func listenLoopback(ep Endpoint) (net.Listener, error) {
	if len(ep.Access.Users) == 0 {
		return nil, &Error{Kind: ErrEndpoint, Detail: "tcp " + ep.Address + " without users", Mend: "name a user and a password, or take a unix socket"}
	}
	for _, user := range ep.Access.Users {
		if user.Name == "" || user.Password == "" {
			return nil, &Error{Kind: ErrEndpoint, Detail: fmt.Sprintf("tcp %s: user %q has no name or no password", ep.Address, user.Name), Mend: "give each user both"}
		}
	}
	addr, err := net.ResolveTCPAddr("tcp", ep.Address)
	if err != nil {
		return nil, &Error{Kind: ErrEndpoint, Detail: "tcp " + ep.Address, Cause: err, Mend: "write it as 127.0.0.1:8123"}
	}
	if addr.IP == nil || !addr.IP.IsLoopback() {
		return nil, &Error{Kind: ErrEndpoint, Detail: "tcp " + ep.Address + " can be reached from other machines, in clear text", Mend: "take 127.0.0.1, and a proxy with TLS before it"}
	}
	listener, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return nil, &Error{Kind: ErrEndpoint, Cause: err, Mend: "is another server on that port? ss -ltnp"}
	}
	return listener, nil
}

// Addr is where the endpoint listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers until ctx ends, then removes its socket, gives running statements five seconds,
// cancels the rest, and returns nil. Close the engine only afterwards.
func (s *Server) Serve(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		if err := s.server.Shutdown(grace); err != nil {
			s.server.Close()
		}
	})
	err := s.server.Serve(netutil.LimitListener(s.listener, maxClients))
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return &Error{Kind: ErrEndpoint, Detail: s.Addr().String(), Cause: err}
}

// Close gives the endpoint up without having served it, or at once.
func (s *Server) Close() error {
	err := s.server.Close()
	if closeErr := s.listener.Close(); closeErr != nil && !errors.Is(closeErr, net.ErrClosed) {
		err = errors.Join(err, closeErr)
	}
	return err
}
