// Fill writes files that look like a large application: half noise, which
// nothing compresses, and half text, which everything does. The same arguments
// give the same files.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

func main() {
	mib := flag.Int("mib", 100, "how much to write, in MiB")
	flag.Parse()
	if err := fill(flag.Arg(0), *mib); err != nil {
		fmt.Fprintln(os.Stderr, "fill:", err)
		os.Exit(1)
	}
}

// fill writes files of one MiB each.
func fill(dir string, mib int) error {
	random := rand.NewChaCha8([32]byte{1})
	words := rand.New(random)
	block := make([]byte, 1<<20)
	for i := range mib {
		if i%2 == 0 {
			if _, err := io.ReadFull(random, block); err != nil {
				return err
			}
		} else {
			for j := 0; j < len(block); {
				j += copy(block[j:], fmt.Sprintf("line %d of file %d\n", words.IntN(1000), i))
			}
		}
		sub := filepath.Join(dir, fmt.Sprintf("%03d", i/100))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("%05d", i)), block, 0o644); err != nil {
			return err
		}
	}
	return nil
}
