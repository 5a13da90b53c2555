package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// containers puts runs and execs beside those of containers, which share the
// host's kernel: podman, and crun alone on an overlay of the same tree.
func (b *bench) containers() ([]line, error) {
	tree, err := b.tree()
	if err != nil {
		return nil, err
	}
	// podman keeps files in more places than it lets one choose, and crun refuses
	// hosts that have both versions of cgroups.
	hidden, err := newHidden("/run", "/dev/shm", "/var/lib/containers", "/var/lib/cni", "/sys/fs/cgroup/unified")
	if err != nil {
		return nil, err
	}
	defer hidden.end()
	app := b.app("python")
	if err := b.do(app, "start"); err != nil {
		return nil, err
	}
	defer b.do(app, "stop")
	run := func() error { return b.do(app, "true") }
	inIt := func() error { return b.do(app, "exec", "true") }
	c := &crun{b: b, dir: filepath.Join(b.dir, "crun"), tree: tree}
	defer hidden.do(c.stop)
	p := &podman{b: b, dir: filepath.Join(b.dir, "podman"), tree: tree}
	defer hidden.do(p.stop)
	if err := errors.Join(hidden.do(c.start), hidden.do(p.start)); err != nil {
		return nil, err
	}
	var lines []line
	for _, m := range []struct {
		what, name  string
		ours, other func() error
	}{
		{"warm `my-app true`", "crun on an overlay of the tree (the host's kernel)", run, c.run},
		{"warm `my-app true`", "`podman run` of the same (the host's kernel)", run, p.run},
		{"`my-app exec true`", "`crun exec`", inIt, c.exec},
		{"`my-app exec true`", "`podman exec`", inIt, p.exec},
	} {
		x, y, err := pairs(b.rounds, m.ours, func() error { return hidden.do(m.other) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		lines = append(lines, compare(m.what, m.name, x, y, 0))
	}
	return lines, nil
}

// hidden is a thread whose mounts are its own and its children's, and end with
// it.
type hidden struct {
	work    chan func() error
	results chan error
}

// newHidden makes a thread that sees empty directories in these places, where
// there are any.
func newHidden(places ...string) (*hidden, error) {
	h := &hidden{work: make(chan func() error), results: make(chan error)}
	go func() {
		runtime.LockOSThread() // for ever
		h.results <- private(places)
		for f := range h.work {
			h.results <- f()
		}
	}()
	return h, <-h.results
}

func (h *hidden) do(f func() error) error {
	h.work <- f
	return <-h.results
}

func (h *hidden) end() { close(h.work) }

// private gives the calling thread mounts of its own, and covers these places.
func private(dirs []string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fmt.Errorf("make mounts of our own, as root: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		if err := unix.Mount("bench", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("cover %s: %w", dir, err)
		}
	}
	return nil
}

// crun runs containers without anybody above it.
type crun struct {
	b         *bench
	dir, tree string
	runs      int
}

const longLived = "100000" // seconds that the container to exec in sleeps

func (c *crun) start() error {
	return c.container("long", []string{"/bin/sleep", longLived}, func(id, bundle string) error {
		return c.command("run", "--detach", "--bundle="+bundle, id).Run() // the container keeps our files
	})
}

func (c *crun) run() error {
	c.runs++
	id := fmt.Sprint("run", c.runs)
	err := c.container(id, []string{"/bin/true"}, func(id, bundle string) error { return c.do("run", "--bundle="+bundle, id) })
	if unmountErr := unix.Unmount(filepath.Join(c.dir, id, "root"), 0); err == nil {
		err = unmountErr
	}
	return err
}

func (c *crun) exec() error { return c.do("exec", "long", "/bin/true") }

func (c *crun) stop() error { return c.do("delete", "--force", "long") }

func (c *crun) do(args ...string) error { return output(c.command(args...)) }

func (c *crun) command(args ...string) *exec.Cmd {
	return c.b.command(c.b.cache(), "crun", append([]string{"--root=" + c.dir + "/state", "--cgroup-manager=disabled"}, args...)...)
}

// container mounts the overlay and writes the bundle that run then runs.
func (c *crun) container(id string, args []string, run func(id, bundle string) error) error {
	d := &direct{b: c.b, dir: filepath.Join(c.dir, id)}
	for _, dir := range []string{"root", "upper", "work"} {
		if err := os.MkdirAll(filepath.Join(d.dir, dir), 0o755); err != nil {
			return err
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", c.tree, d.dir, d.dir)
	if err := unix.Mount("overlay", d.dir+"/root", "overlay", 0, layers); err != nil {
		return fmt.Errorf("mount an overlay: %w", err)
	}
	bundle, err := d.write(object{
		"ociVersion": "1.0.0",
		"process":    object{"cwd": "/", "args": args, "user": object{"uid": 0, "gid": 0}, "env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}},
		"root":       object{"path": d.dir + "/root"},
		"mounts":     []object{{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux":      object{"namespaces": []object{{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}}},
	})
	if err != nil {
		return err
	}
	return run(id, bundle)
}

// podman runs containers as people do, as far as a host without a network and
// cgroups for them goes.
type podman struct {
	b         *bench
	dir, tree string
}

func (p *podman) start() error {
	return p.command(container("--detach", "--name=long", "--rootfs", p.tree+":O", "/bin/sleep", longLived)).Run()
}

func (p *podman) run() error {
	return output(p.command(container("--rm", "--rootfs", p.tree+":O", "/bin/true")))
}

func (p *podman) exec() error { return output(p.command([]string{"exec", "long", "/bin/true"})) }

func (p *podman) stop() error {
	return output(p.command([]string{"rm", "--force", "--time=0", "--all"}))
}

// container has limits that need no privilege beyond those that make it.
func container(args ...string) []string {
	return append([]string{"run", "--network=none", "--cgroups=disabled", "--log-driver=none",
		"--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"}, args...)
}

func (p *podman) command(args []string) *exec.Cmd {
	return p.b.command(p.b.cache(), "podman", append([]string{
		"--root=" + p.dir + "/root", "--runroot=" + p.dir + "/run", "--tmpdir=" + p.dir + "/tmp",
		"--events-backend=none", "--cgroup-manager=cgroupfs", "--runtime=crun", "--storage-driver=vfs",
	}, args...)...)
}
