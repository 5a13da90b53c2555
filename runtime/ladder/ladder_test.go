package ladder

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime"
)

// rung is an engine that can only be probed.
type rung struct {
	runtime.Engine
	isolation string
	err       error
	probed    *int
}

func (r rung) Name() string      { return r.isolation + "-engine" }
func (r rung) Isolation() string { return r.isolation }
func (r rung) Probe(context.Context) error {
	*r.probed++
	return r.err
}

// A chosen level is never below what runner or packer said, and what was left
// out has a reason.
func TestChoose(t *testing.T) {
	noKVM := errors.New("no /dev/kvm")
	for _, c := range []struct {
		name        string
		want, floor string
		vm, sandbox error
		noKernel    bool
		chosen      string
		dropped     string // substring of the reason of the dropped rung
		fails       string // substring of the error
		probes      int
	}{
		{name: "highest", want: "auto", chosen: "vm", probes: 1},
		{name: "next, with the reason", want: "auto", vm: noKVM, chosen: "sandbox", dropped: "no /dev/kvm", probes: 1},
		{name: "sandbox wanted", want: "sandbox", chosen: "sandbox"},
		{name: "vm wanted", want: "vm", chosen: "vm"},
		{name: "the last rung's failure is its start's", want: "vm", vm: noKVM, chosen: "vm"},
		{name: "vm demanded by the pack", want: "auto", floor: "vm", chosen: "vm"},
		{name: "sandbox demanded, vm is more", want: "auto", floor: "sandbox", chosen: "vm", probes: 1},
		{name: "lower than the pack allows", want: "sandbox", floor: "vm", fails: "demands"},
		{name: "unknown", want: "container", fails: "unknown isolation level"},
		{name: "pack without a kernel", want: "auto", noKernel: true, chosen: "sandbox", dropped: "carries no kernel"},
		{name: "vm wanted of a pack without a kernel", want: "vm", noKernel: true, fails: "not possible on this host: vm: the pack carries no kernel"},
	} {
		t.Run(c.name, func(t *testing.T) {
			probes := 0
			l := Ladder{
				{Engine: rung{isolation: machine.IsolationVM, err: c.vm, probed: &probes}, Parts: []string{"kernel"}},
				{Engine: rung{isolation: machine.IsolationSandbox, err: c.sandbox, probed: &probes}, Parts: []string{"sentry"}},
			}
			has := func(kind string) bool { return kind != "kernel" || !c.noKernel }
			chosen, dropped, err := l.Choose(t.Context(), Request{Want: c.want, Floor: c.floor, Has: has})
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("got %v, want an error about %q", err, c.fails)
				}
				return
			}
			if err != nil || chosen.Engine.Isolation() != c.chosen {
				t.Fatalf("chose %+v (%v), want %s", chosen, err, c.chosen)
			}
			if (c.dropped != "") != (len(dropped) > 0) || c.dropped != "" && !strings.Contains(dropped[0].Err.Error(), c.dropped) {
				t.Errorf("dropped %v, want %q", dropped, c.dropped)
			}
			if probes != c.probes {
				t.Errorf("%d probes, want %d", probes, c.probes)
			}
		})
	}
}

func TestNoEngine(t *testing.T) {
	probes := 0
	l := Ladder{{Engine: rung{isolation: machine.IsolationSandbox, probed: &probes}}}
	if _, _, err := l.Choose(t.Context(), Request{Want: "vm"}); err == nil || !strings.Contains(err.Error(), "no engine") {
		t.Errorf("got %v", err)
	}
	found := l.Explain(t.Context(), Request{Want: "auto"})
	if len(found) != 1 || found[0].Err != nil || probes != 1 {
		t.Errorf("found %v after %d probes", found, probes)
	}
}
