package gvisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cgroupRoot is where every distribution mounts them.
const cgroupRoot = "/sys/fs/cgroup"

// cgroupPrefix and the machine's id make the name of its cgroup, so that Sweep
// finds what a killed supervisor could not remove.
const cgroupPrefix = "smolvm-"

// period is the length of the interval in which CPU time is counted, in
// microseconds; the kernel's default.
const period = 100_000

// cgroup is a machine's own: one directory in the unified hierarchy (v2), or
// one in each of the memory and cpu hierarchies (v1).
type cgroup struct {
	memory string
	cpu    string
	v2     bool
}

// newCgroup makes one. In the v1 hierarchies it is a child of the root, as
// docker's is; in the unified one a sibling of ours or of an ancestor, because
// there the kernel wants processes in leaves only.
func newCgroup(id string) (*cgroup, error) {
	name := cgroupPrefix + id
	if memory := filepath.Join(cgroupRoot, "memory"); isDir(memory) {
		return newV1(memory, filepath.Join(cgroupRoot, "cpu"), name)
	}
	own, err := unifiedCgroup()
	if err != nil {
		return nil, err
	}
	return newV2(own, name)
}

func newV1(memory, cpu, name string) (*cgroup, error) {
	c := &cgroup{memory: filepath.Join(memory, name)}
	if err := os.Mkdir(c.memory, 0o755); err != nil {
		return nil, refused(err)
	}
	if dir := filepath.Join(cpu, name); os.Mkdir(dir, 0o755) == nil {
		c.cpu = dir
	}
	return c, nil
}

// newV2 looks for the nearest ancestor whose children have a memory
// controller and that lets us make one: a delegated subtree, or any for root.
func newV2(own, name string) (*cgroup, error) {
	err := fs.ErrNotExist
	for parent := own; strings.HasPrefix(parent, cgroupRoot); parent = filepath.Dir(parent) {
		control, _ := os.ReadFile(filepath.Join(parent, "cgroup.subtree_control"))
		if !strings.Contains(string(control), "memory") {
			continue
		}
		dir := filepath.Join(parent, name)
		if err = os.Mkdir(dir, 0o755); err == nil {
			c := &cgroup{memory: dir, v2: true}
			if strings.Contains(" "+strings.TrimSpace(string(control))+" ", " cpu ") {
				c.cpu = dir
			}
			return c, nil
		}
	}
	return nil, refused(err)
}

func refused(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return errors.New("only root or a delegated cgroup may limit it")
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("this host has no memory controller")
	}
	return fmt.Errorf("making a cgroup failed: %w", err)
}

// unifiedCgroup is this process's directory in the unified hierarchy.
func unifiedCgroup() (string, error) {
	doc, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("read our cgroup: %w", err)
	}
	for _, line := range strings.Split(string(doc), "\n") {
		if path, ok := strings.CutPrefix(line, "0::/"); ok && isDir(filepath.Join(cgroupRoot, path)) {
			return filepath.Join(cgroupRoot, path), nil
		}
	}
	return "", errors.New("this host has no cgroups")
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// limit sets what the machine may use.
func (c *cgroup) limit(memoryMiB int64, cpus int) error {
	memory, swap := "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	if c.v2 {
		memory, swap = "memory.max", "memory.swap.max"
	}
	bytes := strconv.FormatInt(memoryMiB<<20, 10)
	if err := c.write(c.memory, memory, bytes); err != nil {
		return err
	}
	if c.v2 {
		bytes = "0"
	}
	if err := c.write(c.memory, swap, bytes); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // kernels without swap accounting have no such file
	}
	if c.cpu == "" {
		return nil
	}
	quota := strconv.Itoa(cpus * period)
	if c.v2 {
		return c.write(c.cpu, "cpu.max", quota+" "+strconv.Itoa(period))
	}
	if err := c.write(c.cpu, "cpu.cfs_period_us", strconv.Itoa(period)); err != nil {
		return err
	}
	return c.write(c.cpu, "cpu.cfs_quota_us", quota)
}

// add moves a process, with all its threads, into the cgroup.
func (c *cgroup) add(pid int) error {
	for _, dir := range c.dirs() {
		if err := c.write(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

func (c *cgroup) dirs() []string {
	if c.cpu == "" || c.cpu == c.memory {
		return []string{c.memory}
	}
	return []string{c.memory, c.cpu}
}

func (c *cgroup) write(dir, file, value string) error {
	if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0); err != nil {
		return fmt.Errorf("set %s of the machine's cgroup: %w", file, err)
	}
	return nil
}

// oomKills counts the processes that the kernel ended for want of memory.
func (c *cgroup) oomKills() int {
	file := "memory.oom_control"
	if c.v2 {
		file = "memory.events"
	}
	doc, err := os.ReadFile(filepath.Join(c.memory, file))
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(doc), "\n") {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			kills, _ := strconv.Atoi(n)
			return kills
		}
	}
	return 0
}

// remove removes the cgroup, which is empty once its processes are reaped.
func (c *cgroup) remove() {
	for _, dir := range c.dirs() {
		_ = os.Remove(dir)
	}
}

// Sweep removes the cgroups that a machine left whose supervisor was killed.
// The caller knows that the machine is dead. It costs a walk over the host's
// cgroups, so it is for the discovery of a dead machine, not for every start.
func Sweep(id string) error {
	name := cgroupPrefix + id
	var failed error
	_ = filepath.WalkDir(cgroupRoot, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir
		}
		if d.IsDir() && d.Name() == name {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = fmt.Errorf("remove the cgroup of machine %s: %w", id, err)
			}
			return fs.SkipDir
		}
		return nil
	})
	return failed
}
