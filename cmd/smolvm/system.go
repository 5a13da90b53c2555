package main

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/cmd/internal/table"
	"github.com/smolvm/smolvm/sidecar"
)

func systemCommand() *cli.Command {
	return &cli.Command{
		Name: "system", Short: "Tell what smolvm takes of the disk, and free it",
		Commands: []*cli.Command{systemDfCommand(), systemPruneCommand()},
	}
}

// dfRow is a kind of thing that takes space.
type dfRow struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
	Size  int64  `json:"size"` // bytes of disk
	// Free is what system prune --all would free.
	Free int64 `json:"reclaimable"`
}

func systemDfCommand() *cli.Command {
	return &cli.Command{
		Name: "df", Short: "Tell what images, machines and the rest of the cache take of the disk", Interspersed: true,
		Examples: []string{"smolvm system df"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o table.Options
			o.Register(f)
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				if err := cli.NoArgs(args); err != nil {
					return err
				}
				rows, err := diskUse()
				if err != nil {
					return err
				}
				return table.Print(stdio.Out, o, rows, func(r dfRow) string { return r.Kind }, []table.Column[dfRow]{
					{Title: "KIND", Cell: func(r dfRow) string { return r.Kind }},
					{Title: "COUNT", Cell: func(r dfRow) string { return fmt.Sprint(r.Count) }},
					{Title: "SIZE", Cell: func(r dfRow) string { return humanSize(r.Size) }},
					{Title: "RECLAIMABLE", Cell: func(r dfRow) string { return humanSize(r.Free) }},
				})
			}
		},
	}
}

// diskUse sorts the cache's entries by what they are for. An image is its
// entry as it was pulled and, if it was run, its unpacked contents.
func diskUse() ([]dfRow, error) {
	needed, err := machineNeeds()
	if err != nil {
		return nil, err
	}
	store, err := openImages()
	if err != nil {
		return nil, err
	}
	defer store.Close()
	list, err := store.List()
	if err != nil {
		return nil, err
	}
	ofImages := needs{}
	if err := ofImages.addImages(store); err != nil {
		return nil, err
	}
	c, err := openCache()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	entries, err := c.List()
	if err != nil {
		return nil, err
	}
	imageRow, rest := dfRow{Kind: "images", Count: len(list)}, dfRow{Kind: "cache"}
	for _, e := range entries {
		row := &rest
		if ofImages.keeps(e) || needed.keeps(e) {
			row = &imageRow
		} else {
			rest.Count++
		}
		row.Size += e.Disk
		if !e.InUse && !needed.keeps(e) {
			row.Free += e.Disk
		}
	}
	states, err := machines.States()
	if err != nil {
		return nil, err
	}
	ids, err := states.List()
	if err != nil {
		return nil, err
	}
	return []dfRow{imageRow, {Kind: "machines", Count: len(ids), Size: treeSize(states.Path())}, rest}, nil
}

// treeSize is what a directory's files take of the disk. What cannot be seen
// is not counted.
func treeSize(dir string) int64 {
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // the rest counts all the same
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				total += st.Blocks * 512
			}
		}
		return nil
	})
	return total
}

func systemPruneCommand() *cli.Command {
	return &cli.Command{
		Name: "prune", Short: "Free what no machine and no image needs; with --all, images, too", Interspersed: true,
		Long: `What a machine needs, running or not, always stays. What is removed is made or
fetched again when it is needed.`,
		Examples: []string{"smolvm system prune", "smolvm system prune --all --dry-run"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o pruneFlags
			all := f.BoolP("all", "a", false, "remove images that no machine needs, too")
			f.BoolVarP(&o.dryRun, "dry-run", "n", false, "only tell what would be removed")
			f.BoolVar(&o.asJSON, "json", false, "print JSON")
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				if err := cli.NoArgs(args); err != nil {
					return err
				}
				return pruneSystem(o, *all, stdio)
			}
		},
	}
}

func pruneSystem(o pruneFlags, all bool, stdio cli.Stdio) error {
	needed := machineNeeds
	if !all {
		store, err := openImages()
		if err != nil {
			return err
		}
		defer store.Close()
		needed = func() (needs, error) {
			n, err := machineNeeds()
			if err == nil {
				err = n.addImages(store)
			}
			return n, err
		}
	}
	if _, err := needed(); err != nil {
		return err
	}
	states, err := machines.States()
	if err != nil {
		return err
	}
	if !o.dryRun {
		states.SweepRemoved()
	}
	return prune(sidecar.PruneOptions{DryRun: o.dryRun, Keep: keepNeeded(needed)}, o, stdio)
}
