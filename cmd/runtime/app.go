package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/runtime/launch"
	"github.com/smolvm/smolvm/sidecar"
)

// app is the pack as its user sees it.
type app struct {
	name    string // as it was typed, without directories
	sidecar string
	// launched is when the launcher began; see machines.Verbs.
	launched time.Duration
}

// verbs are the machines of this pack.
func (a *app) verbs() *machines.Verbs {
	return &machines.Verbs{Program: a.name, ID: a.machineID, Origin: a.origin, Launched: a.launched}
}

// machineID names the machine of this pack and an instance name. It reads
// nothing but the sidecar's end, for it is on the way of every exec.
func (a *app) machineID(name string) (string, error) {
	r, err := sidecar.Open(a.sidecar)
	if err != nil {
		return "", err
	}
	defer r.Close()
	return launch.MachineID(r.Digest(), name), nil
}

// origin: all machines of a pack are made of it.
func (a *app) origin(*pflag.FlagSet) func([]string) (machines.Source, []string, error) {
	s := machines.Source{
		Hostname: strings.TrimSuffix(filepath.Base(a.sidecar), ".smolmachine"),
		Open: func(context.Context, cli.Stdio) (*launch.Pack, error) {
			pack, err := launch.OpenPack(a.sidecar)
			if err != nil {
				return nil, err
			}
			// The launcher has obeyed this, too, but of the file that lay there then.
			if err := pack.Demand(os.Getenv(sidecar.TrustVariable)); err != nil {
				pack.Close()
				return nil, err
			}
			return pack, nil
		},
	}
	return func(args []string) (machines.Source, []string, error) { return s, args, nil }
}
