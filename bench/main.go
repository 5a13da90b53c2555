// Bench measures what a person waits for, each measure beside something that
// does the unavoidable part of the same work, interleaved in one run: the
// ratios hold on any machine, the times only on this one. `./build.sh bench`
// runs it on what is in dist/.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	var b bench
	flag.StringVar(&b.dist, "dist", "dist", "the `directory` with smolvm")
	flag.StringVar(&b.bin, "bin", "build/bin", "the `directory` with stub and sentry")
	flag.StringVar(&b.images, "images", "build/images", "the `directory` with the images to pack")
	flag.IntVar(&b.rounds, "rounds", 20, "how many pairs of each measure")
	only := flag.String("only", "", "measure only the row whose `name` this is")
	flag.Parse()
	if err := run(&b, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(b *bench, only string) error {
	dir, err := os.MkdirTemp("", "smolvm-bench")
	if err != nil {
		return fmt.Errorf("make a directory to work in: %w", err)
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	for _, path := range []*string{&b.dist, &b.bin, &b.images} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if err := b.pack(); err != nil {
		return err
	}
	host, err := describeHost()
	if err != nil {
		return err
	}
	os.Stdout.WriteString(host + header)
	for _, r := range rows {
		if only != "" && r.name != only {
			continue
		}
		lines, err := r.measure(b)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		for _, l := range lines {
			os.Stdout.WriteString(l.markdown())
		}
	}
	return nil
}
