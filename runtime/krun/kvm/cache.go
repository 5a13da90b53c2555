package kvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// Cache remembers what this boot of the host showed, in one small file. What
// can change while the host runs (the device, the permission) is looked at
// every time; what its hypervisor and kernel can do is not.
//
// A file that cannot be read or written costs a probe, never an answer.
type Cache struct {
	// Path is the file; empty remembers for this process only.
	Path string
	// bootID and device are replaced by tests.
	bootID, device string

	failed atomic.Pointer[string]
}

// memory is the file. Failed is empty where guests run.
type memory struct {
	BootID string `json:"bootID"`
	Failed string `json:"failed,omitempty"`
}

// Probe is the package's Probe, once per boot.
func (c *Cache) Probe(ctx context.Context) error {
	f, err := open(c.devicePath())
	if err != nil {
		return err
	}
	defer f.Close()
	if failed := c.failed.Load(); failed != nil {
		return &Error{Reason: CannotBoot, Detail: *failed}
	}
	if m, ok := c.recall(); ok {
		if m.Failed != "" {
			return &Error{Reason: CannotBoot, Detail: m.Failed}
		}
		return nil
	}
	err = probe(ctx, f)
	var e *Error
	switch {
	case err == nil:
		c.remember("")
	case errors.As(err, &e) && e.Reason == CannotBoot:
		c.remember(e.Detail)
	}
	return err
}

// Failed makes Probe answer for the rest of this boot that machines do not
// work and why: the probe is short and a whole kernel may still fail.
func (c *Cache) Failed(why string) {
	text := fmt.Sprintf("it was tried and failed (%s); remove %s to try again on this boot", why, c.Path)
	c.failed.Store(&text)
	c.remember(text)
}

func (c *Cache) devicePath() string {
	if c.device != "" {
		return c.device
	}
	return device
}

func (c *Cache) boot() string {
	if c.bootID != "" {
		return c.bootID
	}
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (c *Cache) recall() (memory, bool) {
	const sizeLimit = 4096
	fi, err := os.Stat(c.Path)
	if err != nil || fi.Size() > sizeLimit {
		return memory{}, false
	}
	b, err := os.ReadFile(c.Path)
	if err != nil {
		return memory{}, false
	}
	var m memory
	if json.Unmarshal(b, &m) != nil || m.BootID == "" || m.BootID != c.boot() {
		return memory{}, false
	}
	return m, true
}

func (c *Cache) remember(failed string) {
	b, err := json.Marshal(memory{BootID: c.boot(), Failed: failed})
	if err != nil {
		return
	}
	if c.Path == "" {
		return
	}
	tmp, err := os.CreateTemp(filepath.Dir(c.Path), ".kvm-*")
	if err != nil {
		return
	}
	_, err = tmp.Write(b)
	if err := errors.Join(err, tmp.Close()); err != nil || os.Rename(tmp.Name(), c.Path) != nil {
		os.Remove(tmp.Name())
	}
}
