package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/sidecar"
)

// bench is where things are and how often they are measured.
type bench struct {
	dist, bin, images string
	// dir is a directory of our own for packs, cache and state.
	dir    string
	rounds int
}

func (b *bench) smolvm() string          { return filepath.Join(b.dist, "smolvm") }
func (b *bench) app(image string) string { return filepath.Join(b.dir, image) }
func (b *bench) cache() string           { return filepath.Join(b.dir, "cache") }

// pack packs the images that the rows use, with one engine: a host with KVM
// would take the other.
func (b *bench) pack() error {
	for _, image := range []string{"busybox", "python", "2gb"} {
		if err := b.do(b.smolvm(), "pack", "--engine", "gvisor", "oci:"+filepath.Join(b.images, image), "-o", b.app(image)); err != nil {
			return err
		}
	}
	return nil
}

// do runs a command to its end, with our own cache and state.
func (b *bench) do(name string, args ...string) error { return b.doIn(b.cache(), name, args...) }

func (b *bench) doIn(cache, name string, args ...string) error {
	return output(b.command(cache, name, args...))
}

// output runs a command to its end; the error has what it wrote to its standard
// error.
func output(cmd *exec.Cmd) error {
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%q: %w: %s", cmd.Args, err, errOut.String())
	}
	return nil
}

func (b *bench) command(cache, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache, "XDG_STATE_HOME="+filepath.Join(b.dir, "state"))
	return cmd
}

// section finds a section in a sidecar.
func (b *bench) section(file, kind string) (manifest.Section, error) {
	r, err := sidecar.Open(file)
	if err != nil {
		return manifest.Section{}, err
	}
	defer r.Close()
	m, err := manifest.Decode(r.ManifestJSON())
	if err != nil {
		return manifest.Section{}, err
	}
	s, ok := m.Section(kind, "")
	if !ok {
		return manifest.Section{}, fmt.Errorf("%s has no %s", file, kind)
	}
	return s, nil
}

// extractStored copies a section's stored bytes, as they are, to a file whose
// name it returns.
func (b *bench) extractStored(image, kind string) (string, error) {
	file := b.app(image) + ".smolmachine"
	s, err := b.section(file, kind)
	if err != nil {
		return "", err
	}
	in, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer in.Close()
	name := filepath.Join(b.dir, image+"."+kind+".zst")
	out, err := os.Create(name)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, io.NewSectionReader(in, s.Offset, s.StoredSize))
	return name, errors.Join(err, out.Close())
}

func fileSize(name string) (int64, error) {
	st, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// daemonPID asks the app for its daemon's process id.
func (b *bench) daemonPID(app string) (int, error) {
	out, err := b.command(b.cache(), app, "status", "--json").Output()
	if err != nil {
		return 0, fmt.Errorf("status: %w", err)
	}
	var status struct{ PID int }
	if err := json.Unmarshal(out, &status); err != nil {
		return 0, fmt.Errorf("status: %w", err)
	}
	return status.PID, nil
}

var pssLine = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB`)

// treePSS sums the proportional set size, in bytes, of a process and all its
// descendants.
func treePSS(pid int) (pss int64, processes int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	if m := pssLine.FindSubmatch(text); m != nil {
		kib, _ := strconv.ParseInt(string(m[1]), 10, 64)
		pss = kib << 10
	}
	processes = 1
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return 0, 0, err
	}
	for _, file := range threads {
		children, err := os.ReadFile(file)
		if err != nil {
			return 0, 0, err
		}
		for child := range strings.FieldsSeq(string(children)) {
			id, err := strconv.Atoi(child)
			if err != nil {
				return 0, 0, err
			}
			more, n, err := treePSS(id)
			if err != nil {
				return 0, 0, err
			}
			pss += more
			processes += n
		}
	}
	return pss, processes, nil
}

// describeHost is the paragraph above the table.
func describeHost() (string, error) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Linux %s, %d CPUs, %s. Times are medians with the tenth and ninetieth\n"+
		"percentile, ratios the same of the pairs.\n\n", strings.TrimSpace(string(release)), runtime.NumCPU(), runtime.Version()), nil
}
