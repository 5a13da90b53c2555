package sidecar

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadSmall(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	writeFile(t, path, []byte("four"))
	if b, err := ReadSmall(path, 4); err != nil || string(b) != "four" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := ReadSmall(path, 3); err == nil || !strings.Contains(err.Error(), "more than 3 bytes") {
		t.Errorf("too long: %q, %v", b, err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadSmall(pipe, 3); err != nil || len(b) > 0 {
		t.Errorf("a pipe that nobody writes to: %q, %v", b, err)
	}
}
