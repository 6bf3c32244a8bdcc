// Package peers listens to HAProxy's peers protocol.
package peers
