// Mkparts makes the parts file that smolvm copies into every pack. It is a
// build-time tool: build.sh runs it on what it has built.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack/partsfile"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("mkparts: ")
	opts := partsfile.Options{Version: cmp.Or(os.Getenv("VERSION"), cli.Version), Parts: map[string]string{}, AgentFiles: map[string]string{}}
	flag.StringVar(&opts.Bin, "bin", "build/bin", "directory of the `executables` stub, runtime, sentry and agent")
	flag.StringVar(&opts.Notices, "notices", "THIRD_PARTY.txt", "`file` of licences and notices")
	flag.StringVar(&opts.Output, "o", "dist/parts.smolmachine", "parts `file` to write")
	flag.StringVar(&opts.Version, "version", opts.Version, "smolVM's own `version` (default $VERSION)")
	flag.StringVar(&opts.Frames, "frames", "", "`directory` that keeps compressed frames for the next build (default: none are kept)")
	flag.Func("part", "add `KIND=PATH`, or take another file for a known kind", pairs(opts.Parts))
	flag.Func("component", "name `NAME=VERSION,LICENSE` as something that is inside", func(s string) error {
		name, rest, _ := strings.Cut(s, "=")
		version, license, ok := strings.Cut(rest, ",")
		if !ok || name == "" {
			return fmt.Errorf("%q is not NAME=VERSION,LICENSE", s)
		}
		opts.Components = append(opts.Components, manifest.Part{Name: name, Version: version, License: license})
		return nil
	})
	flag.Func("agent-file", "put `NAME=PATH` into the guest's own disk", pairs(opts.AgentFiles))
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	made, err := partsfile.Build(ctx, opts)
	if err != nil {
		log.Fatal(err)
	}
	if !made {
		log.Printf("%s is up to date", opts.Output)
	}
}

// pairs collects the values of a flag that may be given several times.
func pairs(into map[string]string) func(string) error {
	return func(s string) error {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" || value == "" {
			return fmt.Errorf("%q is not NAME=PATH", s)
		}
		into[key] = value
		return nil
	}
}
