package gvisor

import (
	"testing"

	"github.com/smolvm/smolvm/formats/machine"
)

// D4: a disk that cannot keep owners is refused before anything is written.
func TestKeepsOwners(t *testing.T) {
	if err := keepsOwners(t.TempDir()); err != nil {
		t.Error(err)
	}
	if err := keepsOwners("/proc/self"); err == nil {
		t.Error("/proc keeps extended attributes")
	}
}

// The gofer serves the writable layer before the volumes, in the order that
// gVisor pairs mounts and sockets by.
func TestServedUpper(t *testing.T) {
	upper := &specMount{Destination: upperDir, Type: "bind", Source: "/kept"}
	volumes := []specMount{{Destination: "/volumes/0", Type: "bind", Source: "/v"}}
	all := served{upper: upper, volumes: volumes}
	if got, want := mountConfs(nil, all), "erofs:none,erofs:none,lisafs:none,lisafs:none"; got != want || all.count() != 2 {
		t.Errorf("%d: %s, want %s", all.count(), got, want)
	}
	if got, want := mountConfs(nil, served{volumes: volumes}), "erofs:none,erofs:none,none:anon,lisafs:none"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	s := bundleSpec("/root", machine.Config{}, 64, all)
	if got := s.Mounts[3]; got.Source != "/kept" || len(got.Options) != 0 {
		t.Errorf("the writable layer is %+v", got)
	}
}
