//go:build lab

package lab

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/agent/transport"
)

// guestMain is this program as a guest's PID 1. Without a port it idles. With
// one it has a container run under crun and tells the host how long each of
// many `crun exec` takes.
func guestMain() {
	var host io.ReadWriteCloser
	die := func(err error) {
		if err != nil {
			fmt.Println("test guest:", err)
			if host != nil {
				fmt.Fprintln(host, "failed:", err)
			}
			_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
		}
	}
	if len(os.Args) < 3 {
		for {
			unix.Pause()
		}
	}
	conn, err := transport.Vsock(1024)
	die(err)
	host = conn
	for _, m := range []struct{ source, target, typ string }{
		{"proc", "/proc", "proc"}, {"sys", "/sys", "sysfs"}, {"cgroup2", "/sys/fs/cgroup", "cgroup2"},
		{"tmp", "/tmp", "tmpfs"}, {"run", "/run", "tmpfs"},
	} {
		die(unix.Mount(m.source, m.target, m.typ, 0, ""))
	}
	die(unix.Mount("/dev/vdb", "/image", "erofs", unix.MS_RDONLY, ""))
	for _, dir := range []string{"/tmp/upper", "/tmp/work", "/tmp/bundle"} {
		die(os.Mkdir(dir, 0o755))
	}
	// crun makes mount points in its root, which must not be the kernel's own.
	die(unix.Mount("overlay", "/rootfs", "overlay", 0, "lowerdir=/image,upperdir=/tmp/upper,workdir=/tmp/work"))
	crun := func(args ...string) {
		cmd := exec.Command("/crun", append([]string{"--root", "/run/crun"}, args...)...)
		// Files: of a pipe, the container would keep the other end.
		cmd.Dir, cmd.Stdout, cmd.Stderr = "/tmp/bundle", os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			die(fmt.Errorf("crun %v: %w", args, err))
		}
	}
	crun("spec")
	config := "/tmp/bundle/config.json"
	b, err := os.ReadFile(config)
	die(err)
	text := strings.NewReplacer(`"terminal": true`, `"terminal": false`, `"rootfs"`, `"/rootfs"`, `"sh"`, `"/bin/sleep", "100000"`).Replace(string(b))
	die(os.WriteFile(filepath.Clean(config), []byte(text), 0o600))
	crun("run", "-d", "box")
	for {
		begun := time.Now()
		crun("exec", "box", "/bin/true")
		_, err := fmt.Fprintf(host, "exec %d\n", time.Since(begun).Nanoseconds())
		die(err)
	}
}
