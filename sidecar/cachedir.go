package sidecar

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// DefaultCacheDir returns the directory that this user's packs share, made and
// checked as OpenCache does: $XDG_CACHE_HOME/smolvm if that is set, else
// ~/.cache/smolvm (~/Library/Caches/smolvm on macOS), else, where there is no
// home directory that could be written to, a private one below $TMPDIR.
func DefaultCacheDir() (string, error) {
	if xdg := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(xdg) {
		dir := filepath.Join(xdg, "smolvm")
		if err := tryCache(dir); err != nil {
			return "", fmt.Errorf("%w (XDG_CACHE_HOME is %s: set it to a directory that you may write to)", err, xdg)
		}
		return dir, nil
	}
	var failed error
	if home := homeDir(); home != "" {
		dir := filepath.Join(home, ".cache", "smolvm")
		if runtime.GOOS == "darwin" {
			dir = filepath.Join(home, "Library", "Caches", "smolvm")
		}
		if failed = tryCache(dir); failed == nil {
			return dir, nil
		}
	}
	// /tmp is everybody's: the name is only a name, OpenCache sees to it that
	// the directory is ours.
	dir := filepath.Join(os.TempDir(), "smolvm-"+strconv.Itoa(os.Geteuid()))
	err := tryCache(dir)
	switch {
	case err == nil:
		return dir, nil
	case failed != nil:
		err = fmt.Errorf("%w; %w", failed, err)
	}
	return "", fmt.Errorf("%w; set XDG_CACHE_HOME to a directory that you may write to", err)
}

func tryCache(dir string) error {
	c, err := OpenCache(dir)
	if err != nil {
		return err
	}
	return c.Close()
}

// homeDir is $HOME or, for whoever is started without it, what the password
// file says; empty where neither knows. (os/user would add 70 KB to a
// launcher.)
func homeDir() string {
	if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		return home
	}
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return ""
	}
	uid := strconv.Itoa(os.Geteuid())
	for line := range strings.Lines(string(passwd)) {
		f := strings.Split(line, ":") // name:password:uid:gid:comment:home:shell
		if len(f) > 5 && f[2] == uid && filepath.IsAbs(f[5]) {
			return f[5]
		}
	}
	return ""
}
