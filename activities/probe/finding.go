package probe

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/understudy-dr/understudy/runbooks"
)

// FindingOf names what a failed connection shows. connected tells whether the
// other side had accepted it already.
//
// A connection that breaks off after it was accepted is Errors, not Refuses:
// something still listens there, as when a master process outlives its crashed
// worker or a port forwarder its container. That is no proof that the instance
// is dead, and what follows from Errors is the more careful: a canary decides,
// or a person.
func FindingOf(err error, connected bool) runbooks.Finding {
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled), isOurs(err):
		return runbooks.Blind
	case errors.As(err, &dns):
		return runbooks.Unreachable
	case isTimeout(err) && connected:
		return runbooks.Silent
	case isTimeout(err):
		return runbooks.Unreachable
	case connected:
		return runbooks.Errors
	case errors.Is(err, syscall.ECONNREFUSED):
		return runbooks.Refuses
	case isAny(err, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN):
		return runbooks.Unreachable
	default:
		return runbooks.Errors
	}
}

// isOurs reports whether the failure is this machine's own: out of files, ports
// or memory, or forbidden to connect. It says nothing about the other side.
func isOurs(err error) bool {
	if isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
		syscall.EADDRINUSE, syscall.EACCES, syscall.EPERM, syscall.EAGAIN) {
		return true
	}
	// The resolver keeps only the text of its errors.
	var dns *net.DNSError
	return errors.As(err, &dns) && strings.Contains(dns.Err, syscall.EMFILE.Error())
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.As(err, &network) && network.Timeout()
}

func isAny(err error, numbers ...syscall.Errno) bool {
	for _, number := range numbers {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}
