package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/table"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack/images"
)

// imageNames lists the names of images.
const imageNames = "smolvm image ls --format {{.Name}}"

func imageCommand() *cli.Command {
	return &cli.Command{
		Name: "image", Short: "List, fetch and forget images",
		Commands: []*cli.Command{imageListCommand(), imagePullCommand(), imageRemoveCommand(), imageInspectCommand()},
	}
}

// imageRow is an image in lists; its fields are what --format may name.
type imageRow struct {
	Name     string    `json:"name"`
	ID       string    `json:"id"`
	Digest   string    `json:"digest,omitempty"`
	Platform string    `json:"platform"`
	Size     int64     `json:"size"`   // bytes, unpacked
	Stored   int64     `json:"stored"` // bytes in the cache
	Pulled   time.Time `json:"pulled"`
	Used     time.Time `json:"used"`
}

func rowOf(i *images.Image) imageRow {
	return imageRow{
		Name: i.Name, ID: i.ID(), Digest: i.Image.Digest, Platform: platformName(i.Platform),
		Size: i.Size, Stored: i.Stored, Pulled: i.Pulled, Used: i.Used.UTC(),
	}
}

func platformName(p manifest.Platform) string {
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// shortID is enough of an ID for people.
func shortID(id string) string { return id[:min(12, len(id))] }

func imageListCommand() *cli.Command {
	return &cli.Command{
		Name: "ls", Short: "List the images that are here", Interspersed: true,
		Examples: []string{"smolvm image ls", "smolvm image ls --format '{{.Name}} {{.Size}}'"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o table.Options
			o.Register(f)
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				if err := cli.NoArgs(args); err != nil {
					return err
				}
				store, err := openImages()
				if err != nil {
					return err
				}
				defer store.Close()
				list, err := store.List()
				if err != nil {
					return err
				}
				rows := []imageRow{}
				for _, i := range list {
					rows = append(rows, rowOf(i))
				}
				return table.Print(stdio.Out, o, rows, func(r imageRow) string { return shortID(r.ID) }, []table.Column[imageRow]{
					{Title: "IMAGE", Cell: func(r imageRow) string { return r.Name }, Shrinks: true},
					{Title: "ID", Cell: func(r imageRow) string { return shortID(r.ID) }},
					{Title: "PLATFORM", Cell: func(r imageRow) string { return r.Platform }},
					{Title: "SIZE", Cell: func(r imageRow) string { return humanSize(r.Size) }},
					{Title: "PULLED", Cell: func(r imageRow) string { return table.Ago(r.Pulled) }},
					{Title: "USED", Cell: func(r imageRow) string { return table.Ago(r.Used) }},
				})
			}
		},
	}
}

func imagePullCommand() *cli.Command {
	return &cli.Command{
		Name: "pull", Args: "IMAGE...", Names: imageNames, Short: "Fetch images, anew if they are here", Interspersed: true,
		Long:     "IMAGE is whatever smolvm pack takes, but for standard input.",
		Examples: []string{"smolvm image pull alpine:3.20", "smolvm image pull docker-archive:image.tar"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			o := pullFlags{policy: string(images.PullAlways)}
			o.registerSource(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				opts, err := o.options()
				if err == nil && len(args) == 0 {
					err = exit.Usagef("image pull needs the name of an IMAGE")
				}
				if err != nil {
					return err
				}
				for _, name := range args {
					img, root, err := getImage(ctx, name, opts, o.quiet, stdio)
					if ctx.Err() != nil {
						return errors.New("interrupted")
					}
					if err != nil {
						return err
					}
					root.Close()
					fmt.Fprintf(stdio.Out, "%s %s\n", img.Name, shortID(img.ID()))
				}
				return nil
			}
		},
	}
}

func imageRemoveCommand() *cli.Command {
	return &cli.Command{
		Name: "rm", Args: "IMAGE...", Names: imageNames, Short: "Forget images; smolvm system prune frees their space", Interspersed: true,
		Long:     "IMAGE is a name or the beginning of an ID. Machines that were made of it keep working.",
		Examples: []string{"smolvm image rm alpine:3.20"},
		New: func(*pflag.FlagSet) cli.RunFunc {
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				return eachImage("rm", args, func(store *images.Store, i *images.Image) error {
					if err := store.Remove(i); err != nil {
						return err
					}
					fmt.Fprintln(stdio.Out, i.Name)
					return nil
				})
			}
		},
	}
}

func imageInspectCommand() *cli.Command {
	return &cli.Command{
		Name: "inspect", Args: "IMAGE...", Names: imageNames, Short: "Print what is known about images, as JSON", Interspersed: true,
		Examples: []string{"smolvm image inspect alpine:3.20", "smolvm image inspect --format '{{.Image.Digest}}' alpine:3.20"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o table.Format
			o.Register(f)
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				found := []*images.Image{}
				err := eachImage("inspect", args, func(_ *images.Store, i *images.Image) error {
					found = append(found, i)
					return nil
				})
				if err != nil {
					return err
				}
				return table.Inspect(stdio.Out, o, found)
			}
		},
	}
}

// eachImage calls do with every image that args name.
func eachImage(verb string, args []string, do func(*images.Store, *images.Image) error) error {
	if len(args) == 0 {
		return exit.Usagef("image %s needs the name of an IMAGE", verb)
	}
	store, err := openImages()
	if err != nil {
		return err
	}
	defer store.Close()
	for _, name := range args {
		found, err := store.Find(name)
		if err != nil {
			return err
		}
		for _, i := range found {
			if err := do(store, i); err != nil {
				return err
			}
		}
	}
	return nil
}
