//go:build !amd64

package kvm

import (
	"context"
	"os"
	"runtime"
)

func runGuest(context.Context, *os.File) error {
	return &Error{Reason: Unsupported, Detail: "virtual machines are not supported on " + runtime.GOARCH + " yet"}
}
