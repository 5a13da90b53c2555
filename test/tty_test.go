package test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
	"golang.org/x/term"
)

// terminal is a person's end of a pseudo-terminal that a command runs on.
type terminal struct {
	t    *testing.T
	ptmx *os.File
	tty  *os.File
	cmd  *exec.Cmd

	before term.State // its modes, read before the command could change them

	mu   sync.Mutex
	seen bytes.Buffer
}

func startOnTerminal(t *testing.T, cmd *exec.Cmd, rows, cols uint16) *terminal {
	t.Helper()
	x := openTerminal(t, rows, cols)
	x.start(cmd)
	return x
}

func openTerminal(t *testing.T, rows, cols uint16) *terminal {
	t.Helper()
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, ptmx: ptmx, tty: tty}
	t.Cleanup(func() { ptmx.Close(); tty.Close() })
	x.resize(rows, cols)
	x.before = x.modes()
	go io.Copy(x, ptmx)
	return x
}

func (x *terminal) start(cmd *exec.Cmd) {
	x.t.Helper()
	x.cmd = cmd
	cmd.Stdin, cmd.Stdout, cmd.Stderr = x.tty, x.tty, x.tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
}

// Write takes what the terminal shows.
func (x *terminal) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen.Write(p)
}

func (x *terminal) screen() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen.String()
}

func (x *terminal) wants(text string) {
	x.t.Helper()
	if err := waitUntil(text, func() bool { return strings.Contains(x.screen(), text) }); err != nil {
		x.t.Fatalf("%v; the terminal shows %q", err, x.screen())
	}
}

func (x *terminal) types(text string) {
	x.t.Helper()
	if _, err := x.ptmx.WriteString(text); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) resize(rows, cols uint16) {
	x.t.Helper()
	if err := pty.Setsize(x.ptmx, &pty.Winsize{Rows: rows, Cols: cols}); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) ends(status int) {
	x.t.Helper()
	if got := exitStatus(x.t, x.cmd, x.cmd.Wait()); got != status {
		x.t.Errorf("status %d, want %d; the terminal shows %q", got, status, x.screen())
	}
}

// modes is the terminal's state, to see that it comes back.
func (x *terminal) modes() term.State {
	x.t.Helper()
	state, err := term.GetState(int(x.tty.Fd()))
	if err != nil {
		x.t.Fatal(err)
	}
	return *state
}

// R4: the command's terminal has our size, a resize follows, ^C reaches the
// command, and our own terminal is as it was when all is over.
func TestTerminal(t *testing.T) {
	w := newWorld(t)
	x := startOnTerminal(t, w.command(t, "busybox", "run", "-it", "sh"), 33, 101)
	x.types("stty size\n")
	x.wants("33 101")
	x.resize(20, 44)
	x.types("while [ \"$(stty size)\" != '20 44' ]; do :; done; echo resi''zed\n")
	x.wants("resized")
	x.types("sh -c 'echo runn\"\"ing; exec sleep 1000'\n")
	x.wants("running")
	x.types("\x03")
	x.types("echo afte''r $?\n")
	x.wants("after 130")
	x.types("exit 9\n")
	x.ends(9)
	if x.modes() != x.before {
		t.Error("the terminal's modes were not restored")
	}
}

// R4: an exec into a daemon has the same terminal.
func TestTerminalOfExec(t *testing.T) {
	w := newWorld(t)
	w.ok(t, "busybox", "start")
	defer w.ok(t, "busybox", "stop")
	x := startOnTerminal(t, w.command(t, "busybox", "exec", "-it", "sh"), 24, 80)
	x.types("tty; stty size\n")
	x.wants("24 80\r\n/ # ") // in line mode, a moment earlier, ^D would be lost
	x.types("\x04")
	x.ends(0)
}

// R4: the terminal comes back when we are told to end.
func TestTerminalComesBackAfterSIGTERM(t *testing.T) {
	w := newWorld(t)
	x := startOnTerminal(t, w.command(t, "busybox", "run", "-it", "sh", "-c", "echo read''y; sleep 1000"), 24, 80)
	x.wants("ready")
	if x.modes() == x.before {
		t.Error("the terminal is not in raw mode while the command runs")
	}
	x.cmd.Process.Signal(syscall.SIGTERM)
	x.cmd.Wait()
	if after := x.modes(); after != x.before {
		t.Errorf("the terminal's modes are %+v, were %+v", after, x.before)
	}
	eventually(t, "the machine's end", func() bool { return len(processes(w.dir)) == 0 })
}

// R4: ^C at a question for a passphrase ends the command at once, and what is
// typed afterwards shows again.
func TestPassphraseInterrupted(t *testing.T) {
	w := newWorld(t)
	x := startOnTerminal(t, w.command(t, "smolvm", "key", "generate", filepath.Join(w.dir, "key")), 24, 80)
	x.wants("Passphrase for")
	x.types("secret\x03")
	x.ends(128 + int(syscall.SIGINT))
	if after := x.modes(); after != x.before {
		t.Errorf("the terminal's modes are %+v, were %+v", after, x.before)
	}
	if strings.Contains(x.screen(), "secret") {
		t.Errorf("the screen shows %q", x.screen())
	}
	if _, err := os.Stat(filepath.Join(w.dir, "key")); !os.IsNotExist(err) {
		t.Errorf("a key was written: %v", err)
	}
}

// S1: a passphrase is typed twice, unseen, and a second that differs makes no
// key; the key then wants the one that was typed.
func TestPassphraseTyped(t *testing.T) {
	w := newWorld(t)
	key := filepath.Join(w.dir, "key")
	generate := func(first, second string, status int) {
		t.Helper()
		x := openTerminal(t, 24, 80)
		x.types("typed ahead, which shows\n")
		x.start(w.command(t, "smolvm", "key", "generate", key))
		x.wants("Passphrase for")
		x.types(first + "\n")
		x.wants("The same again: ")
		x.types(second + "\n")
		x.ends(status)
		if x.modes() != x.before || strings.Contains(x.screen(), first) || strings.Contains(x.screen(), second) {
			t.Errorf("the terminal's modes are %+v, were %+v; it shows %q", x.modes(), x.before, x.screen())
		}
	}
	generate("secret", "sacred", 125)
	generate("secret\x1a", "\x1csecret", 125) // what would stop or dump us does neither
	if _, err := os.Stat(key); !os.IsNotExist(err) {
		t.Errorf("a key was written: %v", err)
	}
	generate("secret", "secret", 0)
	pem, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for passphrase, opens := range map[string]bool{"sacred": false, "secret": true} {
		if _, err := ssh.ParseRawPrivateKeyWithPassphrase(pem, []byte(passphrase)); (err == nil) != opens {
			t.Errorf("with the passphrase %s: %v", passphrase, err)
		}
	}
}

// R4: -t with piped input ends at the input's end; -i without -t has no
// terminal.
func TestTerminalWithPipedInput(t *testing.T) {
	w := newWorld(t)
	if r := w.run(t, "echo from the pipe\n", "busybox", "run", "-i", "-t", "sh"); r.status != 0 || !strings.Contains(r.stdout, "from the pipe\r\n") {
		t.Errorf("-it with a pipe: %+v", r)
	}
	if r := w.run(t, "", "busybox", "run", "-i", "tty"); !strings.Contains(r.stdout, "not a tty") {
		t.Errorf("-i without -t: %+v", r)
	}
}
