package test

import (
	"net"
	"strings"
	"testing"
)

// R6, S5: a socket of the host in a volume is a name without anybody behind it.
func TestSocketInVolume(t *testing.T) {
	w := newWorld(t)
	listener, err := net.Listen("unix", w.dir+"/home/sock")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	// Somebody who does answer, so that the refusal is not the program's.
	const script = `import socket, os
def reach(path):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        return "reached"
    except OSError as e:
        return "refused"
own = socket.socket(socket.AF_UNIX); own.bind("/tmp/own"); own.listen()
print(os.path.exists("/mnt/sock"), reach("/tmp/own"), reach("/mnt/sock"))`
	if out := strings.TrimSpace(w.ok(t, "python", "-v", w.dir+"/home:/mnt", "python3", "-c", script)); out != "True reached refused" {
		t.Errorf("%q", out)
	}
}
