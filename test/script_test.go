package test

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the scripts in script/, each in a world of its own. Each is
// named by the cases it proves.
func TestScripts(t *testing.T) {
	t.Parallel() // with the tests that wait for time limits
	var open, private string
	if readyPacks == "" {
		open, private = registries(t)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "script",
		WorkdirRoot:         root,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Defer(func() { killAll(e.WorkDir) })
			e.Vars = append(e.Vars, worldEnv(t, e.WorkDir)...)
			e.Vars = append(e.Vars, "REGISTRY="+open, "PRIVATE="+private, "DOWN="+freeAddress(t))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "left-to-nobody": // see once
				return leftTo(nobody), nil
			case "left-to-root":
				return leftTo(0), nil
			case "vm": // in the lab, where packs run as virtual machines
				return readyPacks != "", nil
			}
			return false, errors.New("unknown condition")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     cmdExits,
			"lines":     cmdLines,
			"nothing":   cmdNothing,
			"gone":      cmdGone,
			"forgotten": cmdForgotten,
		},
	})
}

// exits STATUS COMMAND [ARG...] runs a command that must end with STATUS.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exitErr, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%q: %v", args[1:], err)
		}
		if got = exitErr.ExitCode(); got < 0 {
			got = 128 + int(signalOf(exitErr))
		}
	}
	if got != want {
		ts.Fatalf("%q ended with status %d, want %d", args[1:], got, want)
	}
}

// lines FILE N wants N lines in FILE (or stdout, stderr), as in "an error is
// one line". Every line of stderr must say that it is ours.
func cmdLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lines FILE N")
	}
	text := ts.ReadFile(args[0])
	if n := strings.Count(text, "\n"); strconv.Itoa(n) != args[1] {
		ts.Fatalf("%d lines, want %s:\n%s", n, args[1], text)
	}
	for line := range strings.Lines(text) {
		if args[0] == "stderr" && !strings.HasPrefix(line, "smolvm: ") {
			ts.Fatalf("a message that does not say whose it is: %s", line)
		}
	}
}

// nothing [DIR] wants the world without a process, mount, socket or temporary
// file of ours; with DIR, also that DIR is empty.
func cmdNothing(ts *testscript.TestScript, neg bool, args []string) {
	left := leftovers(ts.Getenv("WORK"))
	for _, dir := range args {
		entries, err := os.ReadDir(ts.MkAbs(dir))
		ts.Check(err)
		for _, e := range entries {
			left = append(left, dir+"/"+e.Name())
		}
	}
	if neg || len(left) > 0 {
		ts.Fatalf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// gone waits until the world has no process left.
func cmdGone(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(waitUntil("processes of "+ts.Getenv("WORK"), func() bool {
		return len(processes(ts.Getenv("WORK"))) == 0
	}))
}

// forgotten wants no machine in the state directory.
func cmdForgotten(ts *testscript.TestScript, _ bool, _ []string) {
	if dirs := machineDirs(ts.Getenv("WORK")); len(dirs) > 0 {
		ts.Fatalf("machines are remembered: %q", dirs)
	}
}
