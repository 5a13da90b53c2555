// Package exit is the one table of exit statuses, and the error that carries
// one from where it is known to the main function. It imports nothing of ours.
package exit

import (
	"errors"
	"fmt"
)

// The statuses of every executable of ours, as docker and podman use them. A
// command's own status is passed on as it is; a command that died from signal
// N gives Signal(N).
const (
	OK            = 0
	Usage         = 2   // the command line was wrong
	Timeout       = 124 // the time limit ended the command
	Failure       = 125 // we failed, not the command
	NotExecutable = 126 // the command exists but cannot be executed
	NotFound      = 127 // there is no such command
)

// Signal is the status of a command that signal n ended.
func Signal(n int) int { return 128 + n }

// Error is an error with an exit status. An Error without Err ends the process
// with Status and without a word: what it stands for has been said already, or
// is the command's own business.
type Error struct {
	Status int
	Err    error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Status)
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Silent ends the process with status and no message.
func Silent(status int) error {
	if status == OK {
		return nil
	}
	return &Error{Status: status}
}

// Usagef is a mistake in the command line; the message says which.
func Usagef(format string, args ...any) error {
	return &Error{Status: Usage, Err: fmt.Errorf(format, args...)}
}

// Status is the exit status that err asks for: OK for nil, Failure when it
// says nothing.
func Status(err error) int {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return Failure
}

// IsSilent says whether err is to be reported by its status alone.
func IsSilent(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Err == nil
}
