// Package stub is the launcher that a pack's executable consists of: it finds
// the sidecar, puts the runtime into the cache and executes it from there.
//
// It is copied into every pack and runs before every command, so it has to be
// small and quick: it imports formats and sidecar, and must not pull in
// encoding/json, os/user or flag. A test holds its size.
package stub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/sidecar"
)

// Run executes the runtime of the pack with args, the first of which is the
// name this process was called by. It returns only if that fails; the error is
// one line for the user.
func Run(args, env []string) error {
	began := monotonic()
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot tell which file this program is: %w", err)
	}
	who, args, err := required(args)
	if err != nil {
		return err
	}
	if who != "" {
		env = set(env, sidecar.TrustVariable, who)
	}
	pack, err := locate(exe, env)
	if err != nil {
		return err
	}
	if err := pack.reader.Demand(pack.path, lookup(env, sidecar.TrustVariable)); err != nil {
		return err
	}
	entry, err := fill(context.Background(), pack.reader, forced(args))
	if err != nil {
		return err
	}
	env = set(set(env, Variable, pack.path), Since, began)
	err = syscall.Exec(entry.Path, args, env)
	if errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("%s may not be executed, its file system is perhaps mounted noexec: set XDG_CACHE_HOME to a directory elsewhere", entry.Path)
	}
	return fmt.Errorf("executing %s: %w", entry.Path, err)
}

// fill puts the runtime of a pack into the cache.
func fill(ctx context.Context, r *sidecar.Reader, force bool) (*sidecar.Entry, error) {
	launch, err := manifest.DecodeLaunch(r.ManifestJSON())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Name(), err)
	}
	if p := launch.Platform; p.OS != runtime.GOOS || p.Architecture != runtime.GOARCH {
		return nil, fmt.Errorf("%s is for %s/%s but this is %s/%s: get the pack for %[4]s/%[5]s, or make one with smolvm pack --platform %[4]s/%[5]s",
			r.Name(), p.OS, p.Architecture, runtime.GOOS, runtime.GOARCH)
	}
	dir, err := sidecar.DefaultCacheDir()
	if err != nil {
		return nil, err
	}
	cache, err := sidecar.OpenCache(dir)
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	if force {
		return cache.Refill(ctx, r, launch.Runtime, nil)
	}
	return cache.Fill(ctx, r, launch.Runtime, nil)
}

// forceFlag makes launcher and runtime extract what the cache has already.
const forceFlag = "--force-extract"

// forced looks for forceFlag among the options before the command. The
// runtime obeys it wherever it may stand; the launcher has to know only for
// the case that the runtime itself is what is broken.
func forced(args []string) bool {
	for _, a := range args[min(1, len(args)):] {
		switch {
		case a == forceFlag:
			return true
		case a == "--" || !strings.HasPrefix(a, "-"):
			return false
		}
	}
	return false
}

// Variable tells the runtime where the sidecar is, and the launcher if the
// user sets it.
const Variable = "SMOLMACHINE"

// Since tells the runtime when the launcher began, in nanoseconds of the
// monotonic clock, for its --trace.
const Since = Variable + "_SINCE"

func monotonic() string {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // every kernel has it
	return strconv.FormatInt(t.Nano(), 10)
}

// set is env with name set to value.
func set(env []string, name, value string) []string {
	out := make([]string, 0, len(env)+1)
	for _, e := range env {
		if !strings.HasPrefix(e, name+"=") {
			out = append(out, e)
		}
	}
	return append(out, name+"="+value)
}

func lookup(env []string, name string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}
