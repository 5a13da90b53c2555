package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// direct runs commands by the sentry alone, without our supervisor and agent:
// an OCI bundle written by hand on the root file system that our own run uses.
type direct struct {
	b      *bench
	dir    string
	rootfs string
	runs   int
}

func (b *bench) newDirect(image string) (*direct, error) {
	stored, err := b.extractStored(image, "rootfs")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "direct")
	if err != nil {
		return nil, err
	}
	d := &direct{b: b, dir: dir, rootfs: filepath.Join(b.dir, image+".erofs")}
	for _, dir := range []string{d.dir + "/state", d.dir + "/empty"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	return d, b.do("zstd", "-q", "-f", "-d", stored, "-o", d.rootfs)
}

type object = map[string]any

// bundle writes a bundle for a command and returns its directory.
func (d *direct) bundle(args []string) (string, error) {
	spec := object{
		"ociVersion": "1.0.0",
		"process": object{
			"cwd": "/", "args": args, "user": object{"uid": 0, "gid": 0},
			"env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
		},
		"root":     object{"path": d.dir + "/empty"},
		"hostname": "direct",
		"mounts": []object{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
		},
		"linux": object{"namespaces": []object{{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}}},
		"annotations": object{
			"dev.gvisor.spec.rootfs.type":    "erofs",
			"dev.gvisor.spec.rootfs.source":  d.rootfs,
			"dev.gvisor.spec.rootfs.overlay": "memory",
		},
	}
	return d.write(spec)
}

// write makes a bundle of a spec.
func (d *direct) write(spec object) (string, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	d.runs++
	dir := filepath.Join(d.dir, fmt.Sprintf("bundle%d", d.runs))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	return dir, os.WriteFile(dir+"/config.json", text, 0o600)
}

func (d *direct) id() string { return fmt.Sprintf("direct%d", d.runs) }

func (d *direct) sentry(args ...string) (string, []string) {
	// The flags of runtime/gvisor, and no cgroup: what makes the sentry faster
	// makes the comparison harder for us.
	flags := []string{
		"--root=" + d.dir + "/state", "--ignore-cgroups",
		"--network=none", "--host-uds=none", "--directfs=false", "--allow-suid", "--host-settings=ignore",
	}
	return filepath.Join(d.b.bin, "frontdoor"), append(flags, args...)
}

// run runs a command in a sandbox of its own, to its end.
func (d *direct) run(args ...string) error {
	dir, err := d.bundle(args)
	if err != nil {
		return err
	}
	name, argv := d.sentry("run", "--bundle="+dir, d.id())
	return d.b.do(name, argv...)
}

// debian runs a command by the runsc of Debian's package, which reads no EROFS,
// on a tree.
func (d *direct) debian(tree string, args ...string) error {
	dir, err := d.write(object{
		"ociVersion": "1.0.0",
		"process":    object{"cwd": "/", "args": args, "user": object{"uid": 0, "gid": 0}, "env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}},
		"root":       object{"path": tree},
		"mounts":     []object{{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux":      object{"namespaces": []object{{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}}},
	})
	if err != nil {
		return err
	}
	return d.b.do("runsc", "--root="+d.dir+"/debian", "--ignore-cgroups", "--network=none", "run", "--bundle="+dir, d.id())
}

// background starts a sandbox that stays; exec runs commands in it, stop ends
// it.
func (d *direct) background(args ...string) (stop func() error, err error) {
	dir, err := d.bundle(append([]string{"/bin/sh", "-c", `echo ready; exec "$0" "$@"`}, args...))
	if err != nil {
		return nil, err
	}
	name, argv := d.sentry("run", "--bundle="+dir, d.id())
	cmd := exec.Command(name, argv...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return nil, fmt.Errorf("the sentry's sandbox does not start: %w", err)
	}
	id := d.id()
	return func() error {
		name, argv := d.sentry("kill", id, "KILL")
		err := d.b.do(name, argv...)
		cmd.Wait()
		return err
	}, nil
}

// exec runs a command in the sandbox that background started last.
func (d *direct) exec(args ...string) error {
	name, argv := d.sentry(append([]string{"exec", d.id()}, args...)...)
	return d.b.do(name, argv...)
}
