package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// row is one measure of the table; it may give several lines.
type row struct {
	name    string
	measure func(b *bench) ([]line, error)
}

var rows = []row{
	{"run", (*bench).warmRun},
	{"phases", (*bench).phases},
	{"beside", (*bench).beside},
	{"containers", (*bench).containers},
	{"exec", (*bench).exec},
	{"first", (*bench).firstRun},
	{"size", (*bench).imageSize},
	{"pack", (*bench).packing},
	{"repack", (*bench).packAgain},
	{"bytes", (*bench).sizes},
	{"memory", (*bench).memory},
	{"network", (*bench).network},
}

// warmRun puts a run from a warm cache beside the sentry alone, run by hand on
// the same root file system.
func (b *bench) warmRun() ([]line, error) {
	direct, err := b.newDirect("python")
	if err != nil {
		return nil, err
	}
	ours := func() error { return b.do(b.app("python"), "true") }
	if err := ours(); err != nil {
		return nil, err
	}
	a, o, err := pairs(b.rounds, ours, func() error { return direct.run("/bin/true") })
	if err != nil {
		return nil, err
	}
	return []line{compare("warm `my-app true`", "the sentry run directly", a, o, 1.1)}, nil
}

// exec puts a command in a running machine beside the sentry's own way to run
// one, and beside a plain process of the host.
func (b *bench) exec() ([]line, error) {
	app := b.app("python")
	if err := b.do(app, "start"); err != nil {
		return nil, err
	}
	defer b.do(app, "stop")
	direct, err := b.newDirect("python")
	if err != nil {
		return nil, err
	}
	stop, err := direct.background("/bin/sleep", "100000")
	if err != nil {
		return nil, err
	}
	defer stop()
	const n = 200
	ours := func() error { return b.do(app, "exec", "true") }
	a, o, err := pairs(n, ours, func() error { return direct.exec("/bin/true") })
	if err != nil {
		return nil, err
	}
	c, h, err := pairs(n, ours, func() error { return b.do("/bin/true") })
	if err != nil {
		return nil, err
	}
	return []line{
		compare("`my-app exec true`, 200 times", "`sentry exec`", a, o, 0.5),
		compare("`my-app exec true`, 200 times", "fork and exec on the host", c, h, 0),
	}, nil
}

// firstRun puts the first run with an empty cache beside zstd decompressing
// the same root file system to a file and a warm run after it.
func (b *bench) firstRun() ([]line, error) {
	app := b.app("python")
	stored, err := b.extractStored("python", "rootfs")
	if err != nil {
		return nil, err
	}
	cache := filepath.Join(b.dir, "first-cache")
	out := filepath.Join(b.dir, "first.erofs")
	ours := func() error { return b.doIn(cache, app, "true") }
	other := func() error {
		if err := b.do("zstd", "-q", "-f", "-d", stored, "-o", out); err != nil {
			return err
		}
		return b.do(app, "true")
	}
	var a, o sample
	for range max(5, b.rounds/4) {
		if err := os.RemoveAll(cache); err != nil {
			return nil, err
		}
		x, y, err := pairs(1, ours, other)
		if err != nil {
			return nil, err
		}
		a, o = append(a, x...), append(o, y...)
	}
	return []line{compare("first run, empty cache, 200 MB image", "`zstd -d` of the root file system to a file, and a warm run", a, o, 1.3)}, nil
}

// imageSize puts a warm run of a large image beside one of a small image.
func (b *bench) imageSize() ([]line, error) {
	large, small := b.app("2gb"), b.app("busybox")
	for _, app := range []string{large, small} {
		if err := b.do(app, "true"); err != nil {
			return nil, err
		}
	}
	a, o, err := pairs(b.rounds, func() error { return b.do(large, "true") }, func() error { return b.do(small, "true") })
	if err != nil {
		return nil, err
	}
	return []line{compare("warm run, 2 GB image", "warm run, 2 MB image", a, o, 1.2)}, nil
}

// packing puts packing, without anything cached, beside tar and zstd of the
// same tree, for time and for the size of what comes out.
func (b *bench) packing() ([]line, error) {
	tree, err := b.tree()
	if err != nil {
		return nil, err
	}
	archive := filepath.Join(b.dir, "tree.tar.zst")
	other := func() error {
		return b.do("sh", "-c", "tar -C "+tree+" -c . | zstd -q -f -T0 -3 -o "+archive)
	}
	cache := filepath.Join(b.dir, "pack-cache")
	out := filepath.Join(b.dir, "fresh")
	var lines []line
	for _, source := range []string{"rootfs:" + tree, "oci:" + filepath.Join(b.images, "python")} {
		var a, o sample
		for range max(5, b.rounds/4) {
			if err := os.RemoveAll(cache); err != nil {
				return nil, err
			}
			ours := func() error { return b.doIn(cache, b.smolvm(), "pack", source, "-o", out) }
			x, y, err := pairs(1, ours, other)
			if err != nil {
				return nil, err
			}
			a, o = append(a, x...), append(o, y...)
		}
		kind := map[bool]string{true: "its tree", false: "its OCI layout, gzip"}[source[0] == 'r']
		lines = append(lines, compare("pack of a 200 MB image, from "+kind, "`tar c \\| zstd -T0 -3` of the tree", a, o, 1.5))
	}
	section, err := b.section(out+".smolmachine", "rootfs")
	if err != nil {
		return nil, err
	}
	size, err := fileSize(archive)
	if err != nil {
		return nil, err
	}
	ratio := float64(section.StoredSize) / float64(size)
	return append(lines, line{
		"its compressed root file system", megabytes(section.StoredSize), "the archive: " + megabytes(size),
		fmt.Sprintf("%.2f", ratio), "≤ 1.0", ratio <= 1,
	}), nil
}

// packAgain measures a pack of an image that has been packed before.
func (b *bench) packAgain() ([]line, error) {
	again := func() error {
		return b.do(b.smolvm(), "pack", "oci:"+filepath.Join(b.images, "python"), "-o", filepath.Join(b.dir, "again"))
	}
	if err := again(); err != nil {
		return nil, err
	}
	var s sample
	for range b.rounds {
		x, err := timed(again)
		if err != nil {
			return nil, err
		}
		s = append(s, x)
	}
	return []line{{"pack again, unchanged, 200 MB image", span(s), "", "", "≤ 0.3 s", s.median() <= 0.3}}, nil
}

// sizes are what every pack weighs besides its image: with the gvisor engine
// alone, and with all engines.
func (b *bench) sizes() ([]line, error) {
	stub, err := fileSize(b.app("busybox"))
	if err != nil {
		return nil, err
	}
	gvisor, err := b.beyondImage(b.app("busybox"))
	if err != nil {
		return nil, err
	}
	complete := filepath.Join(b.dir, "all-engines")
	if err := b.do(b.smolvm(), "pack", "oci:"+filepath.Join(b.images, "busybox"), "-o", complete); err != nil {
		return nil, err
	}
	all, err := b.beyondImage(complete)
	if err != nil {
		return nil, err
	}
	return []line{
		bytesLine("stub", stub, 2_300_000),
		bytesLine("sidecar beyond the image, `--engine gvisor`", gvisor, 15_000_000),
		bytesLine("sidecar beyond the image, with libkrun, its kernel and libc", all, 20_000_000),
	}, nil
}

// beyondImage is the size of a pack's sidecar without its root file system.
func (b *bench) beyondImage(app string) (int64, error) {
	size, err := fileSize(app + ".smolmachine")
	if err != nil {
		return 0, err
	}
	rootfs, err := b.section(app+".smolmachine", "rootfs")
	return size - rootfs.StoredSize, err
}

// memory is what an idle machine costs: the proportional set size of all
// processes of its daemon.
func (b *bench) memory() ([]line, error) {
	app := b.app("python")
	if err := b.do(app, "start"); err != nil {
		return nil, err
	}
	defer b.do(app, "stop")
	pid, err := b.daemonPID(app)
	if err != nil {
		return nil, err
	}
	first, _, err := treePSS(pid)
	if err != nil {
		return nil, err
	}
	// A sandbox gives back what only its start needed once it has been idle
	// for two seconds.
	<-time.After(idle)
	pss, processes, err := treePSS(pid)
	if err != nil {
		return nil, err
	}
	return []line{
		{measure: "daemon just started, PSS of all its processes", ours: megabytes(first)},
		bytesLine(fmt.Sprintf("idle daemon, PSS of its %d processes", processes), pss, 50_000_000),
	}, nil
}

// idle is how long a machine has had nothing to do when it counts as idle.
const idle = 5 * time.Second
