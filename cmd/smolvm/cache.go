package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/sidecar"
)

func cacheCommand() *cli.Command {
	return &cli.Command{
		Name: "cache", Short: "List or clear what packs left in the cache",
		Commands: []*cli.Command{cacheListCommand(), cachePruneCommand()},
	}
}

func openCache() (*sidecar.Cache, error) {
	dir, err := sidecar.DefaultCacheDir()
	if err != nil {
		return nil, err
	}
	return sidecar.OpenCache(dir)
}

// cacheEntry is an entry in JSON.
type cacheEntry struct {
	Path    string    `json:"path"`
	Size    int64     `json:"size"` // bytes of disk
	LastUse time.Time `json:"lastUse"`
	InUse   bool      `json:"inUse"`
}

func cacheEntries(list []sidecar.EntryInfo) []cacheEntry {
	entries := []cacheEntry{}
	for _, e := range list {
		entries = append(entries, cacheEntry{e.Path, e.Disk, e.LastUse.UTC(), e.InUse})
	}
	return entries
}

func cacheListCommand() *cli.Command {
	return &cli.Command{
		Name: "ls", Short: "List the cache, least recently used first", Interspersed: true,
		New: func(flags *pflag.FlagSet) cli.RunFunc {
			asJSON := flags.Bool("json", false, "print JSON")
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				if len(args) > 0 {
					return exit.Usagef("cache ls takes no arguments")
				}
				return listCache(*asJSON, stdio)
			}
		},
	}
}

func listCache(asJSON bool, stdio cli.Stdio) error {
	c, err := openCache()
	if err != nil {
		return err
	}
	defer c.Close()
	list, err := c.List()
	if err != nil {
		return err
	}
	entries := cacheEntries(list)
	if asJSON {
		return cli.PrintJSON(stdio.Out, entries)
	}
	w := tabwriter.NewWriter(stdio.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LAST USE\tSIZE\tIN USE\tPATH")
	var total int64
	for _, e := range entries {
		inUse := ""
		if e.InUse {
			inUse = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.LastUse.Local().Format(time.DateTime), humanSize(e.Size), inUse, e.Path)
		total += e.Size
	}
	fmt.Fprintf(w, "%d entries\t%s\t\t%s\n", len(entries), humanSize(total), c.Dir())
	return w.Flush()
}

func cachePruneCommand() *cli.Command {
	return &cli.Command{
		Name: "prune", Short: "Remove what nobody uses from the cache", Interspersed: true,
		Long: "What a machine that runs or has a name needs stays. The rest is made again when it is needed.",
		Examples: []string{
			"smolvm cache prune",
			"smolvm cache prune --older-than 168h --keep 5G",
		},
		New: func(flags *pflag.FlagSet) cli.RunFunc {
			var o pruneFlags
			flags.DurationVar(&o.olderThan, "older-than", 0, "only what was not used for this `TIME`, like 24h")
			flags.StringVar(&o.keep, "keep", "", "keep the most recently used up to this `SIZE`, like 2G")
			flags.BoolVarP(&o.dryRun, "dry-run", "n", false, "only tell what would be removed")
			flags.BoolVar(&o.asJSON, "json", false, "print JSON")
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				if len(args) > 0 {
					return exit.Usagef("cache prune takes no arguments")
				}
				return pruneCache(o, stdio)
			}
		},
	}
}
