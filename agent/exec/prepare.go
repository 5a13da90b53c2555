package exec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/agent/account"
	"github.com/smolvm/smolvm/formats/wire"
)

// defaultPath is docker's, for images and requests that set none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// A command is a request made ready for execve.
type command struct {
	path string
	argv []string
	env  []string
	dir  string
	user *account.User
}

// prepare resolves what the request leaves to the image. The error is a
// *wire.Error.
func prepare(req *wire.Exec) (*command, error) {
	user, err := account.Resolve(req.User)
	if err != nil {
		return nil, refuse(wire.CodeBadRequest, "%v", err)
	}
	c := &command{argv: req.Argv, user: user, env: environment(req, user)}
	if c.dir, err = workingDir(req.WorkingDir, user); err != nil {
		return nil, err
	}
	c.path, err = c.find(req.Argv[0])
	return c, err
}

// environment removes all but the last setting of a name and adds what every
// command can rely on.
func environment(req *wire.Exec, user *account.User) []string {
	env := make([]string, 0, len(req.Env)+4)
	index := make(map[string]int, len(req.Env)+4)
	for _, kv := range req.Env {
		name, _, _ := strings.Cut(kv, "=")
		if i, ok := index[name]; ok {
			env[i] = kv
			continue
		}
		index[name] = len(env)
		env = append(env, kv)
	}
	add := func(name, value string) {
		if _, ok := index[name]; !ok {
			env = append(env, name+"="+value)
		}
	}
	add("PATH", defaultPath)
	add("HOME", user.Home)
	if host, err := os.Hostname(); err == nil {
		add("HOSTNAME", host)
	}
	if req.TTY {
		add("TERM", "xterm")
	}
	return env
}

// workingDir makes the directory if it is missing, as docker does.
func workingDir(dir string, user *account.User) (string, error) {
	if dir == "" {
		return "/", nil
	}
	dir = filepath.Join("/", dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", refuse(wire.CodeBadRequest, "working directory %s: %v", dir, errors.Unwrap(err))
	}
	var st unix.Stat_t
	if unix.Stat(dir, &st) == nil && !user.May(&st) {
		return "", refuse(wire.CodeNotExecutable, "working directory %s: the user may not enter it", dir)
	}
	return dir, nil
}

// find looks the command up in the command's own PATH, as its user.
func (c *command) find(name string) (string, error) {
	if name == "" {
		return "", refuse(wire.CodeNotFound, "the command is an empty string")
	}
	if strings.Contains(name, "/") {
		return name, nil // execve says what is wrong with it
	}
	var denied bool
	for _, dir := range filepath.SplitList(c.variable("PATH")) {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(c.dir, dir)
		}
		path := filepath.Join(dir, name)
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
			continue
		}
		if c.user.May(&st) {
			return path, nil
		}
		denied = true
	}
	if denied {
		return "", refuse(wire.CodeNotExecutable, "%s: permission denied", name)
	}
	return "", refuse(wire.CodeNotFound, "%s: command not found in the image's PATH", name)
}

func (c *command) variable(name string) string {
	for _, kv := range c.env {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// startError says what a failed fork, chdir or execve means for the client.
func (c *command) startError(err error) *wire.Error {
	name := c.argv[0]
	switch {
	case errors.Is(err, syscall.ENOENT) && exists(c.dir, c.path):
		return refuse(wire.CodeNotFound, "%s: its interpreter is not in the image", name)
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR):
		return refuse(wire.CodeNotFound, "%s: no such file in the image", name)
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM):
		return refuse(wire.CodeInternal, "cannot start %s: the machine has no room for another process (%v)", name, err)
	}
	return refuse(wire.CodeNotExecutable, "%s: %v", name, err)
}

func exists(dir, path string) bool {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	_, err := os.Stat(path)
	return err == nil
}

func refuse(code wire.ErrorCode, format string, args ...any) *wire.Error {
	return &wire.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
