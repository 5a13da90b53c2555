package test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// complaints counts the lines of stderr. That a host cannot run virtual
// machines is said once in every cache and is no complaint.
func complaints(stderr string) int {
	n := 0
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "smolvm: isolation level vm is not possible here: ") {
			n++
		}
	}
	return n
}

// S1: whichever byte of a sidecar is flipped, the pack says so in one line and
// runs nothing, or (in bytes that nothing reads: padding) runs as ever.
func TestFlippedBytes(t *testing.T) {
	once(t, 0)
	w := newWorld(t)
	good, err := os.ReadFile(filepath.Join(packs(t), "busybox.smolmachine"))
	if err != nil {
		t.Fatal(err)
	}
	app, sidecar := w.dir+"/app", w.dir+"/app.smolmachine"
	w.ok(t, "cp", filepath.Join(packs(t), "busybox"), app)
	// The footer and the manifest are small: most of the samples go there.
	offsets := []int{0, 1, len(good) - 1, len(good) - 2}
	random := rand.New(rand.NewPCG(3, 4))
	for range 24 {
		offsets = append(offsets, len(good)-1-random.IntN(4096))
	}
	for range 8 {
		offsets = append(offsets, random.IntN(len(good)))
	}
	w.env = append(w.env, "XDG_CACHE_HOME="+w.dir+"/own-cache")
	if err := os.WriteFile(sidecar, good, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(sidecar, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put := func(b byte, at int) {
		if _, err := f.WriteAt([]byte{b}, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range offsets {
		put(good[at]^1<<random.IntN(8), at)
		if err := os.RemoveAll(w.dir + "/own-cache"); err != nil {
			t.Fatal(err)
		}
		r := w.run(t, "", app, "echo", "ran")
		refused := r.status == 125 && r.stdout == "" && complaints(r.stderr) == 1
		if !refused && (r.status != 0 || r.stdout != "ran\n") {
			t.Errorf("byte %d of %d: %+v", at, len(good), r)
		}
		put(good[at], at)
	}
}

// S1: truncated at any point it is refused.
func TestTruncatedSidecar(t *testing.T) {
	once(t, nobody)
	w := newWorld(t)
	good, err := os.ReadFile(filepath.Join(packs(t), "busybox.smolmachine"))
	if err != nil {
		t.Fatal(err)
	}
	w.ok(t, "cp", filepath.Join(packs(t), "busybox"), w.dir+"/app")
	for _, size := range []int{0, 1, 4095, 4096, 8192, len(good) / 2, len(good) - 4096, len(good) - 65, len(good) - 1} {
		if err := os.WriteFile(w.dir+"/app.smolmachine", good[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		r := w.run(t, "", w.dir+"/app", "echo", "ran")
		if r.status != 125 || r.stdout != "" || complaints(r.stderr) != 1 {
			t.Errorf("%d of %d bytes: %+v", size, len(good), r)
		}
	}
}

// S2: a cache in which files were exchanged, emptied or replaced by symbolic
// links is repaired or refused, never trusted.
func TestPoisonedCache(t *testing.T) {
	w := newWorld(t)
	cache := w.dir + "/own-cache"
	w.env = append(w.env, "XDG_CACHE_HOME="+cache)
	w.ok(t, "busybox", "true")
	evil := w.dir + "/evil"
	if err := os.WriteFile(evil, []byte("#!/bin/sh\necho evil\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		poison func(file string) error
	}{
		{"a symbolic link", func(file string) error { os.Remove(file); return os.Symlink(evil, file) }},
		{"emptied", func(file string) error { return replace(file, nil) }},
		{"world-writable", func(file string) error { return os.Chmod(file, 0o777) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.RemoveAll(cache); err != nil {
				t.Fatal(err)
			}
			w.ok(t, "busybox", "true")
			poisoned := 0
			err := filepath.WalkDir(cache, func(path string, e os.DirEntry, err error) error {
				if st, statErr := os.Stat(path); err == nil && statErr == nil && e.Type().IsRegular() && st.Size() > 0 {
					poisoned++
					return c.poison(path)
				}
				return err
			})
			if err != nil || poisoned == 0 {
				t.Fatalf("%d files poisoned: %v", poisoned, err)
			}
			r := w.run(t, "", "busybox", "echo", "ran")
			if r.stdout == "ran\n" && r.status == 0 {
				return
			}
			if r.status != 125 || r.stdout != "" || complaints(r.stderr) != 1 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func replace(file string, text []byte) error {
	if err := os.Remove(file); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// S6: the machine's state directory and socket are private, and another user
// of this host can do nothing with them.
func TestOthersCanDoNothing(t *testing.T) {
	w := newWorld(t)
	w.ok(t, "busybox", "start")
	defer w.ok(t, "busybox", "stop")
	err := filepath.WalkDir(w.dir+"/state/smolvm", func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if st, err := e.Info(); err == nil && st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %v: others may look", path, st.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return // only root can become somebody else
	}
	for _, dir := range []string{root, w.dir} {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	cmd := w.command(t, filepath.Join(packs(t), "busybox"), "exec", "true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var out []byte
	if out, err = cmd.CombinedOutput(); err == nil {
		t.Errorf("another user ran a command: %s", out)
	} else if _, ok := err.(*exec.ExitError); !ok {
		t.Errorf("the other user could not even try: %v", err)
	}
}
