package gvisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/runtime"
)

const controlName = "control"

// control is the sentry's control socket (gVisor's pkg/urpc: JSON objects, one
// request and one answer at a time). Our connection waits in its queue before
// the sentry runs, and the path is gone by then: nobody else can connect.
type control struct {
	listener *os.File // for the sentry
	conn     *os.File
}

func listenControl(scratch string) (*control, error) {
	c, err := openControl(scratch)
	if err != nil {
		c.close()
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	return c, nil
}

func openControl(scratch string) (*control, error) {
	c := &control{}
	dir, err := os.Open(scratch)
	if err != nil {
		return c, err
	}
	defer dir.Close()
	// A cache directory's path may be longer than a socket address may be.
	addr := &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), controlName)}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return c, err
	}
	c.listener = os.NewFile(uintptr(fd), controlName)
	if err := errors.Join(unix.Bind(fd, addr), unix.Listen(fd, 1)); err != nil {
		return c, err
	}
	defer os.Remove(filepath.Join(scratch, controlName))
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return c, err
	}
	c.conn = os.NewFile(uintptr(fd), controlName)
	return c, unix.Connect(fd, addr)
}

// giveListener hands over the listener: the sentry's death ends our connection
// only when no copy of it is left here.
func (c *control) giveListener() *os.File {
	f := c.listener
	c.listener = nil
	return f
}

func (c *control) close() {
	for _, f := range []*os.File{c.listener, c.conn} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// run gives the sandbox its interfaces and starts the agent. It fails when the
// sentry dies.
func (c *control) run(id string, link *runtime.Link) error {
	var files []*os.File
	if link != nil {
		files = append(files, link.File)
	}
	if err := c.call("containerManager.SetNetworkArgs", networkFor(link), files...); err != nil {
		return fmt.Errorf("give the sandbox its network interfaces: %w", err)
	}
	if err := c.call("containerManager.StartRoot", id); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	return nil
}

// call calls a method; files travel with its first byte.
func (c *control) call(method string, arg any, files ...*os.File) error {
	request := struct {
		Method string `json:"method"`
		Arg    any    `json:"arg"`
	}{method, arg}
	doc, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		n, err := unix.SendmsgN(int(c.conn.Fd()), doc, unix.UnixRights(fds...), nil, 0)
		if err != nil {
			return err
		}
		doc = doc[n:]
	}
	if _, err := c.conn.Write(doc); err != nil {
		return err
	}
	var answer struct {
		Success bool   `json:"success"`
		Err     string `json:"err"`
	}
	if err := json.NewDecoder(c.conn).Decode(&answer); err != nil {
		return err
	}
	if !answer.Success {
		return refusal(answer.Err)
	}
	return nil
}

// refusal is what a living sentry answers instead of doing it.
type refusal string

func (r refusal) Error() string { return string(r) }
