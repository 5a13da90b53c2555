package main

import (
	"fmt"
	"time"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/sidecar"
)

// pruneFlags are cache prune's flags.
type pruneFlags struct {
	olderThan      time.Duration
	keep           string
	dryRun, asJSON bool
}

func (o pruneFlags) options() (sidecar.PruneOptions, error) {
	opts := sidecar.PruneOptions{DryRun: o.dryRun}
	if o.olderThan < 0 {
		return opts, exit.Usagef("--older-than %s is negative", o.olderThan)
	}
	if o.olderThan > 0 {
		opts.UnusedSince = time.Now().Add(-o.olderThan)
	}
	if o.keep != "" {
		mib, err := machine.ParseMiB(o.keep)
		if err != nil {
			return opts, exit.Usagef("--keep: %w", err)
		}
		opts.MaxBytes = max(mib<<20, 1) // 0 would mean no limit
	}
	return opts, nil
}

func pruneCache(o pruneFlags, stdio cli.Stdio) error {
	opts, err := o.options()
	if err != nil {
		return err
	}
	if _, err := machineNeeds(); err != nil {
		return err
	}
	opts.Keep = keepNeeded(machineNeeds)
	return prune(opts, o, stdio)
}

// prune removes what opts say and tells about it.
func prune(opts sidecar.PruneOptions, o pruneFlags, stdio cli.Stdio) error {
	c, err := openCache()
	if err != nil {
		return err
	}
	defer c.Close()
	removed, err := c.Prune(opts)
	if err != nil {
		return err
	}
	entries := cacheEntries(removed)
	if o.asJSON {
		return cli.PrintJSON(stdio.Out, entries)
	}
	var total int64
	for _, e := range entries {
		fmt.Fprintln(stdio.Out, e.Path)
		total += e.Size
	}
	verb := "removed"
	if o.dryRun {
		verb = "would remove"
	}
	_, err = fmt.Fprintf(stdio.Out, "%s %d entries, %s\n", verb, len(entries), humanSize(total))
	return err
}
