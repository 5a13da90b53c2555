package terminal

import (
	"os"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/smolvm/smolvm/formats/wire"
)

func openTerminal(t *testing.T) (ptmx, tty *os.File) {
	t.Helper()
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ptmx.Close(); tty.Close() })
	return ptmx, tty
}

// R4: raw mode is undone, once or twice.
func TestRaw(t *testing.T) {
	_, tty := openTerminal(t)
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := MakeRaw(tty)
	if err != nil {
		t.Fatal(err)
	}
	if now, err := term.GetState(int(tty.Fd())); err != nil || *now == *before {
		t.Errorf("not raw: %v", err)
	}
	raw.Restore()
	raw.Restore()
	if now, err := term.GetState(int(tty.Fd())); err != nil || *now != *before {
		t.Errorf("not restored: %v", err)
	}
}

// R4
func TestSizes(t *testing.T) {
	ptmx, tty := openTerminal(t)
	if s := Size(tty); s != nil {
		t.Errorf("a new terminal has size %+v", s)
	}
	if err := pty.Setsize(ptmx, &pty.Winsize{Rows: 30, Cols: 90}); err != nil {
		t.Fatal(err)
	}
	if s := Size(tty); s == nil || *s != (wire.Size{Rows: 30, Cols: 90}) {
		t.Errorf("size %+v", s)
	}
	sizes, stop := Resizes(tty)
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	if s := <-sizes; s != (wire.Size{Rows: 30, Cols: 90}) {
		t.Errorf("resized to %+v", s)
	}
	stop()
}

func TestNoTerminal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if Is(f) || Foreground(f) || Size(f) != nil || Input(f) != f {
		t.Error("/dev/null is taken for a terminal")
	}
	if _, err := MakeRaw(f); err == nil {
		t.Error("/dev/null became raw")
	}
}

// R4: until the command runs a signal ends us, then it is the command's.
func TestSignals(t *testing.T) {
	aborted := make(chan os.Signal, 1)
	s := Catch(func(s os.Signal) { aborted <- s })
	defer s.Stop()
	send := func(sig syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	send(syscall.SIGTERM)
	if got := <-aborted; got != syscall.SIGTERM {
		t.Errorf("aborted by %v", got)
	}
	s.Forward()
	for sig, number := range map[syscall.Signal]int{syscall.SIGINT: 2, syscall.SIGTERM: 15, syscall.SIGHUP: 1, syscall.SIGUSR1: 10} {
		send(sig)
		if got := <-s.C; got.Number != number {
			t.Errorf("%v arrives as %d", sig, got.Number)
		}
	}
}
