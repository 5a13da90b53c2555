package enginetest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/client"
)

// containers of the machine's own image and of a further one see neither each
// other nor the machine, are restricted as its commands are, keep what they
// wrote when they start again, and end with all that is in them.
func (s *suite) containers(t *testing.T) {
	m := s.start(t, func(cfg *machine.Config) {
		cfg.Images = []machine.Image{{Path: cfg.Parts[manifest.KindRootfs]}}
	})
	const own, further = "0123456789ab", "ba9876543210"
	m.bootContainer(own, m.Guest().Image)
	m.bootContainer(further, m.Guest().Images[0])
	if got := m.inContainer(own, "hostname; echo mine >/note; cat /note"); got != own+"\nmine" {
		t.Errorf("in a container: %q", got)
	}
	m.sh("! test -e /note")
	m.inContainer(further, "! test -e /note; sleep 1000 </dev/null >/dev/null 2>&1 &")
	if got := m.inContainer(own, "ls -d /proc/[0-9]* | wc -l; cat /proc/[0-9]*/cmdline | tr '\\0' ' '"); strings.Contains(got, "sleep 1000") {
		t.Errorf("another container's processes: %q", got)
	}
	const restrictions = "grep -e CapEff -e CapBnd -e Seccomp: /proc/self/status; ! hostname x 2>/dev/null; ! mount -t tmpfs t /tmp 2>/dev/null; ! cat /proc/1/environ 2>/dev/null"
	if inside, outside := m.inContainer(own, restrictions), m.sh(restrictions); inside != outside {
		t.Errorf("a container's commands have %q, the machine's %q", inside, outside)
	}
	for _, id := range []string{own, further} {
		if _, err := m.ask(&wire.Header{Op: wire.OpShutdown, Container: id, Shutdown: &wire.Shutdown{}}); err != nil {
			t.Errorf("shut a container down: %v", err)
		}
	}
	m.sh("! cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep '[s]leep 1000'")
	m.bootContainer(own, m.Guest().Image)
	if got := m.inContainer(own, "cat /note"); got != "mine" {
		t.Errorf("after another start: %q", got)
	}
}

func (m *vm) bootContainer(id string, image wire.Mount) {
	m.t.Helper()
	b := wire.Boot{
		Hostname: id, OwnKernel: m.Guest().OwnKernel, Inner: true, Image: image,
		Upper: wire.Upper{Mounted: true, Dir: id},
	}
	if _, err := m.ask(&wire.Header{Op: wire.OpBoot, Container: id, Boot: &b}); err != nil {
		m.t.Fatalf("boot a container: %v", err)
	}
}

// inContainer is sh in a container.
func (m *vm) inContainer(id, script string) string {
	m.t.Helper()
	stream, err := m.session.OpenStream()
	if err != nil {
		m.t.Fatal(err)
	}
	var out bytes.Buffer
	exit, err := client.Run(m.t.Context(), stream, client.Command{
		Container: id, Out: &out, Err: &out,
		Exec: wire.Exec{Argv: []string{"sh", "-c", script}, Env: []string{"PATH=/bin"}},
	})
	if err != nil || exit.Code != 0 || exit.Signal != 0 || exit.Error != nil {
		m.t.Fatalf("in a container: %s: %v, %+v\n%s", script, err, exit, out.String())
	}
	return strings.TrimSpace(out.String())
}
