package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// newLog opens the log of a machine as its supervisor does.
func newLog(t *testing.T, m *Machine) *Log {
	t.Helper()
	f, err := m.OpenLog()
	if err != nil {
		t.Fatal(err)
	}
	return NewLog(f, m)
}

// A line keeps its time and stream, whole or in parts, and what is no entry is
// shown.
func TestLogEntries(t *testing.T) {
	m := newMachine(t, newDir(t))
	l := newLog(t, m)
	before := time.Now()
	fmt.Fprint(l.Stream(Stdout), "one\ntwo")
	fmt.Fprint(l.Stream(Stderr), "oops\n")
	fmt.Fprint(l.Stream(Stdout), " and a half\n\n")
	fmt.Fprint(l, "kernel\n")
	f, err := m.OpenLog()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "panic: no entry\n")
	f.Close()
	var got []string
	err = m.ReadLog(t.Context(), LogOptions{Tail: -1}, func(e Entry) error {
		got = append(got, fmt.Sprintf("%s %q %v", e.Stream, e.Text, e.Full))
		if e.Time.Before(before.Add(-time.Second)) || e.Time.After(time.Now()) {
			t.Errorf("%q at %v", e.Text, e.Time)
		}
		return nil
	})
	want := `stdout "one" true; stdout "two" false; stderr "oops" true; stdout " and a half" true; stdout "" true; console "kernel" true; console "panic: no entry" true`
	if err != nil || strings.Join(got, "; ") != want {
		t.Errorf("got  %s, %v\nwant %s", strings.Join(got, "; "), err, want)
	}
	var out, errs strings.Builder
	p := LogPrinter{Out: &out, Err: &errs}
	if err := m.ReadLog(t.Context(), LogOptions{Tail: 3}, p.Print); err != nil || out.String() != "\nkernel\npanic: no entry\n" || errs.Len() != 0 {
		t.Errorf("the last three: %q, %q, %v", &out, &errs, err)
	}
	out.Reset()
	later := LogOptions{Tail: -1, Since: time.Now().Add(time.Hour)}
	if err := m.ReadLog(t.Context(), later, p.Print); err != nil || out.Len() != 0 {
		t.Errorf("of the future: %q, %v", &out, err)
	}
	out.Reset()
	p = LogPrinter{Out: &out, Times: true}
	if err := m.ReadLog(t.Context(), LogOptions{Tail: 1}, p.Print); err != nil || !strings.HasSuffix(out.String(), "Z panic: no entry\n") {
		t.Errorf("with its time: %q, %v", &out, err)
	}
}

// keeper stands for a supervisor: a process that has the alive lock and is in
// the record. Ending it ends the machine.
func keeper(t *testing.T, m *Machine) (end func()) {
	t.Helper()
	alive, err := m.LockAlive()
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	cmd := exec.Command("cat")
	cmd.ExtraFiles = []*os.File{alive}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	process, err := Identify(cmd.Process.Pid)
	if err == nil {
		err = m.WriteRecord(&Record{Process: process})
	}
	if err != nil {
		t.Fatal(err)
	}
	end = func() { in.Close(); _ = cmd.Wait() }
	t.Cleanup(end)
	return end
}

// A follower sees each line once, over rotations, and ends with the machine.
func TestFollow(t *testing.T) {
	m := newMachine(t, newDir(t))
	l := newLog(t, m)
	fmt.Fprint(l, "first\n")
	end := keeper(t, m)
	lines := make(chan string)
	over := make(chan error, 1)
	go func() {
		over <- m.ReadLog(context.Background(), LogOptions{Tail: -1, Follow: true}, func(e Entry) error {
			lines <- string(e.Text)
			return nil
		})
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-lines:
			if got != want {
				t.Fatalf("got %.40q, want %.40q", got, want)
			}
		case err := <-over:
			t.Fatalf("it ended: %v", err)
		case <-time.After(time.Minute):
			t.Fatalf("%.40q did not come", want)
		}
	}
	expect("first")
	long := strings.Repeat("x", 8000)
	for i := range 3 * MaxLog / len(long) {
		line := fmt.Sprint(i, long)
		fmt.Fprintln(l, line)
		expect(line)
	}
	end()
	select {
	case err := <-over:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the follower outlived the machine")
	}
	// Of one that does not run there is nothing to wait for.
	if err := m.ReadLog(t.Context(), LogOptions{Tail: 0, Follow: true}, nil); err != nil {
		t.Error(err)
	}
}

// D4: a start that fails leaves no record and tells of its end by nothing but its
// lock. Those who wait for that do not look like a machine that runs.
func TestFollowFailedStart(t *testing.T) {
	m := newMachine(t, newDir(t))
	fmt.Fprint(newLog(t, m), "first\n")
	alive, err := m.LockAlive()
	if err != nil {
		t.Fatal(err)
	}
	seen, over := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		over <- m.ReadLog(context.Background(), LogOptions{Tail: -1, Follow: true}, func(Entry) error { seen <- struct{}{}; return nil })
	}()
	<-seen
	alive.Close()
	select {
	case err := <-over:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the follower waits for ever")
	}
	for range 100 {
		dead, err := m.Dead()
		if err != nil {
			t.Fatal(err)
		}
		alive, err := m.LockAlive()
		if err != nil {
			t.Fatalf("with somebody who waits: %v", err)
		}
		alive.Close()
		<-dead
	}
}

func TestFollowCancelled(t *testing.T) {
	m := newMachine(t, newDir(t))
	l := newLog(t, m)
	fmt.Fprint(l, "first\n")
	keeper(t, m)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := m.ReadLog(ctx, LogOptions{Tail: -1, Follow: true}, func(Entry) error { cancel(why); return nil })
	if err != why {
		t.Errorf("got %v", err)
	}
}

// A guest writes most of a log.
func FuzzParseEntry(f *testing.F) {
	f.Add([]byte("2016-10-06T00:17:09.669794202Z stdout F message"))
	f.Add([]byte("x stdout F "))
	f.Fuzz(func(t *testing.T, line []byte) {
		e := ParseEntry(line)
		if e.Time.IsZero() && string(e.Text) != string(line) && e.Stream == Console {
			t.Errorf("%q became %q", line, e.Text)
		}
	})
}
