package gvisor

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where every distribution mounts them.
const cgroupRoot = "/sys/fs/cgroup"

// cgroupPrefix marks what is ours: whatever has this name and holds no process
// may be removed by anybody, see Sweep.
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

// newCgroup makes one. Its name has a random part: two users' machines may
// have one id.
func newCgroup(id string) (*cgroup, error) {
	var suffix [4]byte
	_, _ = rand.Read(suffix[:]) // never fails
	name := cgroupPrefix + id + "-" + hex.EncodeToString(suffix[:])
	if v1 := filepath.Join(cgroupRoot, "memory"); isDir(v1) {
		return newV1(v1, filepath.Join(cgroupRoot, "cpu"), name)
	}
	err := fs.ErrNotExist
	for _, parent := range unifiedParents() {
		dir := filepath.Join(parent, name)
		if err = os.Mkdir(dir, 0o755); err == nil {
			c := &cgroup{memory: dir, v2: true}
			if controls(parent, "cpu") {
				c.cpu = dir
			}
			return c, nil
		}
	}
	return nil, refused(err)
}

// ProbeCgroups makes one and removes it. An error says why limits cannot be
// enforced here.
func ProbeCgroups() error {
	c, err := newCgroup("probe")
	c.remove()
	return err
}

// newV1 makes one in the v1 hierarchies, below their roots, as docker does.
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

// unifiedParents are the ancestors of this process's cgroup in the unified
// hierarchy whose children have a memory controller, nearest first. The kernel
// wants processes in leaves only, so ours becomes a sibling of ours or of an
// ancestor: in a delegated subtree, or anywhere for root.
func unifiedParents() []string {
	doc, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	var parents []string
	for _, line := range strings.Split(string(doc), "\n") {
		path, ok := strings.CutPrefix(line, "0::/")
		if !ok {
			continue
		}
		for dir := filepath.Join(cgroupRoot, path); strings.HasPrefix(dir, cgroupRoot); dir = filepath.Dir(dir) {
			if controls(dir, "memory") {
				parents = append(parents, dir)
			}
		}
	}
	return parents
}

func controls(dir, controller string) bool {
	doc, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	return err == nil && slices.Contains(strings.Fields(string(doc)), controller)
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
	if c == nil {
		return 0
	}
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
	if c == nil {
		return
	}
	for _, dir := range c.dirs() {
		_ = os.Remove(dir)
	}
}

// Sweep removes the cgroups of machines whose supervisor was killed before it
// could. One that holds a process cannot be removed, so no living machine is
// touched; one that a start has just made is made again by it.
func Sweep() {
	parents := append(unifiedParents(), filepath.Join(cgroupRoot, "memory"), filepath.Join(cgroupRoot, "cpu"))
	for _, parent := range parents {
		left, _ := filepath.Glob(filepath.Join(parent, cgroupPrefix+"*"))
		for _, dir := range left {
			_ = unix.Rmdir(dir)
		}
	}
}
