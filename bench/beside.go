package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// tree is the python image as a directory.
func (b *bench) tree() (string, error) {
	tree := filepath.Join(b.dir, "tree")
	if err := os.Mkdir(tree, 0o755); errors.Is(err, fs.ErrExist) {
		return tree, nil
	} else if err != nil {
		return "", err
	}
	return tree, b.do("tar", "-C", tree, "-xf", filepath.Join(b.images, "python.tar"))
}

// beside puts a warm run next to what other tools do with the same files. None
// of them gives the command a kernel of its own but runsc, which is Debian's.
func (b *bench) beside() ([]line, error) {
	tree, err := b.tree()
	if err != nil {
		return nil, err
	}
	direct, err := b.newDirect("python")
	if err != nil {
		return nil, err
	}
	ours := func() error { return b.do(b.app("python"), "true") }
	if err := ours(); err != nil {
		return nil, err
	}
	others := []struct {
		name string
		run  func() error
	}{
		{"bubblewrap, the tree read-only, all namespaces (the floor: no kernel of its own)", func() error {
			return b.do("bwrap", "--ro-bind", tree, "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all", "--die-with-parent", "/bin/true")
		}},
		{"Debian's runsc on the tree (a release of 2022)", func() error { return direct.debian(tree, "/bin/true") }},
	}
	var lines []line
	for _, o := range others {
		x, y, err := pairs(b.rounds, ours, o.run)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.name, err)
		}
		lines = append(lines, compare("warm `my-app true`", o.name, x, y, 0))
	}
	return lines, nil
}
