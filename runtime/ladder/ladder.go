// Package ladder chooses how strongly a machine is isolated: the highest level
// that works on this host, that the pack carries an engine for, and that runner
// and packer agree to.
//
// It never chooses lower than it was told and always has a reason for what it
// did not choose. How an engine isolates is the engine's business.
package ladder

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime"
)

// Rung is one engine and what it needs from a pack.
type Rung struct {
	Engine runtime.Engine
	// Parts are section kinds.
	Parts []string
	// Sweep removes what machines left on the host whose supervisor was killed
	// before it could; nil where a kill leaves nothing.
	Sweep func()
	// ProbeAlways: a start that must fail takes longer than a probe and says
	// less.
	ProbeAlways bool
}

// Ladder is what this program has, highest isolation first.
type Ladder []Rung

// Engines are the engines of all rungs.
func (l Ladder) Engines() []runtime.Engine {
	engines := make([]runtime.Engine, len(l))
	for i, r := range l {
		engines[i] = r.Engine
	}
	return engines
}

// Sweep sweeps after all engines. No living machine is touched.
func (l Ladder) Sweep() {
	for _, r := range l {
		if r.Sweep != nil {
			r.Sweep()
		}
	}
}

// Request is what must be satisfied.
type Request struct {
	// Want is the level that the runner asked for, or machine.IsolationAuto.
	Want string
	// Floor is the lowest level that the pack may run at; empty allows all.
	Floor string
	// Has says whether the pack carries a section kind.
	Has func(kind string) bool
}

// Finding is a rung and why it cannot be used; nil if it can.
type Finding struct {
	Rung
	Err error
}

// level orders isolation levels.
func level(isolation string) int {
	switch isolation {
	case machine.IsolationSandbox:
		return 1
	case machine.IsolationVM:
		return 2
	}
	return 0
}

// Check says whether the runner's wish is possible at all.
func (r Request) Check() error {
	if r.Want != machine.IsolationAuto && level(r.Want) == 0 {
		return fmt.Errorf("unknown isolation level %q: use auto, vm or sandbox", r.Want)
	}
	if r.Want != machine.IsolationAuto && level(r.Want) < level(r.Floor) {
		return fmt.Errorf("this pack does not run at isolation level %q: its maker demands %q", r.Want, r.Floor)
	}
	return nil
}

// Choose returns the highest rung that satisfies the request, and the higher
// ones that had to be left out. The last rung that comes into question is not
// probed: starting the machine tells at least as well.
func (l Ladder) Choose(ctx context.Context, r Request) (Rung, []Finding, error) {
	if err := r.Check(); err != nil {
		return Rung{}, nil, err
	}
	candidates := l.allowed(r)
	var dropped []Finding
	for i, rung := range candidates {
		err := rung.missing(r)
		if err == nil && (i < len(candidates)-1 || rung.ProbeAlways) {
			err = rung.Engine.Probe(ctx)
		}
		if err == nil {
			return rung, dropped, nil
		}
		dropped = append(dropped, Finding{rung, err})
	}
	return Rung{}, dropped, r.impossible(dropped)
}

// Explain probes every rung that the request allows.
func (l Ladder) Explain(ctx context.Context, r Request) []Finding {
	var found []Finding
	for _, rung := range l.allowed(r) {
		err := rung.missing(r)
		if err == nil {
			err = rung.Engine.Probe(ctx)
		}
		found = append(found, Finding{rung, err})
	}
	return found
}

func (l Ladder) allowed(r Request) []Rung {
	var rungs []Rung
	for _, rung := range l {
		isolation := rung.Engine.Isolation()
		if (r.Want == machine.IsolationAuto || r.Want == isolation) && level(isolation) >= level(r.Floor) {
			rungs = append(rungs, rung)
		}
	}
	return rungs
}

func (r Rung) missing(req Request) error {
	for _, kind := range r.Parts {
		if req.Has != nil && !req.Has(kind) {
			return fmt.Errorf("the pack carries no %s", kind)
		}
	}
	return nil
}

// impossible is the error of a request that no rung satisfies.
func (r Request) impossible(tried []Finding) error {
	want := r.Want
	if want == machine.IsolationAuto && r.Floor != "" {
		want = r.Floor
	}
	if len(tried) == 0 {
		return fmt.Errorf("isolation level %q is not possible: this version of smolvm has no engine for it", want)
	}
	reasons := make([]string, len(tried))
	for i, f := range tried {
		reasons[i] = fmt.Sprintf("%s: %v", f.Engine.Isolation(), f.Err)
	}
	if want == machine.IsolationAuto {
		return errors.New("no isolation is possible on this host: " + strings.Join(reasons, "; "))
	}
	return fmt.Errorf("isolation level %q is not possible on this host: %s", want, strings.Join(reasons, "; "))
}

// Guarantee says in a line what a level promises.
func Guarantee(isolation string) string {
	switch isolation {
	case machine.IsolationVM:
		return "libkrun, KVM: hardware virtualization, the guest has a Linux kernel of its own"
	case machine.IsolationSandbox:
		return "gVisor: the guest talks to a kernel in user space, never to the host's directly"
	}
	return ""
}
