// Package enginetest is the conformance suite of the engine contract in
// package runtime. An engine's own tests call Run from inside the isolated
// process that a supervisor would be; Supervise makes one.
//
// The suite speaks the contract and the agent's protocol only. It knows no
// engine, and asks little of the host: Go, busybox-static and erofs-utils.
package enginetest

import (
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime"
)

// Env is what a suite runs with.
type Env struct {
	// Parts are the engine's, by section kind; the rootfs is the suite's own
	// image, see BuildRootfs.
	Parts map[string]string
	// Scratch is an empty private directory; each machine gets one inside.
	Scratch string
	// Dir is a directory on a real file system, for volumes.
	Dir string
}

// Run holds an engine against the contract.
func Run(t *testing.T, engine runtime.Engine, env Env) {
	if engine.Name() == "" || (engine.Isolation() != machine.IsolationSandbox && engine.Isolation() != machine.IsolationVM) {
		t.Fatalf("an engine called %q of level %q", engine.Name(), engine.Isolation())
	}
	if err := engine.Probe(t.Context()); err != nil {
		t.Fatalf("the engine does not work here: %v", err)
	}
	s := &suite{engine: engine, env: env}
	cases := []struct {
		name string
		run  func(*testing.T)
	}{
		{"R1/start answers", s.startAnswers},
		{"R1/statuses", s.statuses},
		{"R2 R3/streams", s.streams},
		{"P8/what an image carries", s.image},
		{"R7/writable root", s.writableRoot},
		{"R7/full disk", s.fullDisk},
		{"R8/more disk than memory", s.muchDisk},
		{"R8/what the guest sees", s.view},
		{"R8/limits hold all", s.limitsHoldAll},
		{"R8/too much memory", s.tooMuchMemory},
		{"S3/signals to PID 1", s.signals},
		{"D3/fresh", s.fresh},
		{"D3/kept", s.kept},
		{"D3/kept after kill -9", s.keptKilled},
		{"D3/kept and grown", s.keptGrown},
		{"D3/kept and full", s.keptFull},
		{"S4/copy", s.copying},
		{"S4/copy that fails", s.copyFailures},
		{"R6/volumes", s.volumes},
		{"R6/read-only volumes", s.readOnlyVolumes},
		{"R6/missing volume", s.missingVolume},
		{"S5/no network", s.noNetwork},
		{"N1/network", s.network},
		{"S5/no abstract sockets", s.noAbstractSockets},
		{"D9/containers", s.containers},
		{"R10/two side by side", s.sideBySide},
		{"R10/kill", s.kill},
		{"R10/kill while running", s.killRunning},
		{"D4/power off", s.powerOff},
		{"D4/kill -9 of each process", s.killProcesses},
		{"D4/start aborted", s.aborted},
		{"D4/bad parts", s.badParts},
	}
	for _, c := range cases {
		// Outside of the case, whose own clean-up ends its machines.
		t.Run(strings.ReplaceAll(c.name, "/", ":"), c.run)
		s.nothingLeft(t, c.name)
	}
}

type suite struct {
	engine runtime.Engine
	env    Env
	serial int
}
