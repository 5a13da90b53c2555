package client

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/wire"
)

// Status is the error that ends our own process as the command ended: without
// a word where the status says it all.
func Status(e wire.Exit) error {
	switch {
	case e.Error != nil:
		return &exit.Error{Status: failure(e.Error.Code), Err: e.Error}
	case e.TimedOut:
		return &exit.Error{Status: exit.Timeout, Err: errors.New("the time limit ended the command; --timeout sets it")}
	case e.OOM:
		return &exit.Error{Status: exit.Signal(int(syscall.SIGKILL)),
			Err: errors.New("the machine ran out of memory and its kernel ended the command; --mem gives it more")}
	case e.Signal != 0:
		return exit.Silent(exit.Signal(e.Signal))
	}
	return exit.Silent(e.Code)
}

func failure(code wire.ErrorCode) int {
	switch code {
	case wire.CodeNotFound:
		return exit.NotFound
	case wire.CodeNotExecutable:
		return exit.NotExecutable
	}
	return exit.Failure
}

// Failure is the error of a request that Run could not finish.
func Failure(err error) error {
	if BrokenPipe(err) {
		return exit.Silent(exit.Signal(int(syscall.SIGPIPE)))
	}
	if err == nil || exit.Status(err) != exit.Failure {
		return err
	}
	return &exit.Error{Status: exit.Failure, Err: fmt.Errorf("run the command: %w", err)}
}
