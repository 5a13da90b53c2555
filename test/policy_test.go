package test

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/machine"
)

// S5, N2: on every way to a machine the policy in effect is the one that was
// asked for, in the words of info, status, inspect and the process that
// enforces it.
func TestPolicyOnEveryPath(t *testing.T) {
	for name, c := range map[string]struct {
		flags  []string
		policy machine.Network
	}{
		"none":  {nil, machine.Network{}},
		"open":  {[]string{"--net"}, machine.Network{Enabled: true}},
		"names": {[]string{"--allow-host", "A.test.", "--allow-host=*.b.test"}, machine.Network{Enabled: true, AllowHosts: []string{"a.test", "*.b.test"}}},
		"all": {
			[]string{"--allow-host", "a.test", "--allow-cidr", "10.1.0.0/16", "--allow-cidr=192.0.2.7", "--host-loopback", "5432"},
			machine.Network{Enabled: true, AllowHosts: []string{"a.test"}, AllowCIDRs: []string{"10.1.0.0/16", "192.0.2.7/32"}, HostLoopback: []uint16{5432}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t) // and an empty log
			pair, single := filepath.Join(w.dir, name), filepath.Join(w.dir, name+"-single")
			pack := append([]string{"pack", "oci:" + images + "/busybox"}, c.flags...)
			w.ok(t, "smolvm", append(pack, "-o", pair)...)
			w.ok(t, "smolvm", append(pack, "-o", single, "--single-file")...)
			for _, way := range []struct {
				name  string
				app   string
				flags []string
			}{{"flags", "busybox", c.flags}, {"pair", pair, nil}, {"single file", single, nil}} {
				r := w.run(t, "", way.app, append(append([]string{"run", "--log-network"}, way.flags...), "ip", "-o", "link")...)
				enforced(t, way.name+"/run", r, &c.policy)
				w.ok(t, way.app, append([]string{"start"}, way.flags...)...)
				told(t, way.name+"/status", w.ok(t, way.app, "status", "--json"), &c.policy)
				r = w.run(t, "", way.app, "exec", "ip", "-o", "link")
				r.stderr += w.ok(t, way.app, "logs")
				enforced(t, way.name+"/exec", r, &c.policy)
				w.ok(t, way.app, "stop")
				if way.flags != nil || name == "none" {
					continue
				}
				told(t, way.name+"/info", w.ok(t, way.app, "info", "--json"), &c.policy)
				if got := w.ok(t, "smolvm", "inspect", way.app); !strings.Contains(got, c.policy.String()) {
					t.Errorf("%s: inspect does not tell %q: %s", way.name, &c.policy, got)
				}
			}
			policyWithoutPack(t, w, c.flags, &c.policy)
		})
	}
}

// policyWithoutPack launches an image that nobody packed.
func policyWithoutPack(t *testing.T, w *world, flags []string, want *machine.Network) {
	t.Helper()
	image := images + "/busybox"
	r := w.run(t, "", "smolvm", append(append([]string{"sandbox", "run", "--log-network"}, flags...), image, "ip", "-o", "link")...)
	enforced(t, "sandbox run", r, want)
	w.ok(t, "smolvm", append(append([]string{"microvm", "create", "--name", "x"}, flags...), image)...)
	w.ok(t, "smolvm", "microvm", "start", "x")
	told(t, "microvm status", w.ok(t, "smolvm", "microvm", "status", "--json", "x"), want)
	r = w.run(t, "", "smolvm", "microvm", "exec", "x", "--", "ip", "-o", "link")
	r.stderr += w.ok(t, "smolvm", "microvm", "logs", "x")
	enforced(t, "microvm exec", r, want)
	w.ok(t, "smolvm", "container", "create", "x", image, "--name", "c", "--", "sleep", "1000")
	w.ok(t, "smolvm", "container", "start", "c")
	r = w.run(t, "", "smolvm", "container", "exec", "c", "--", "ip", "-o", "link")
	r.stderr += w.ok(t, "smolvm", "microvm", "logs", "x")
	enforced(t, "container exec", r, want)
	w.ok(t, "smolvm", "microvm", "delete", "--force", "x")
}

// enforced checks what the machine has, and what the process that enforces the
// policy says that it enforces.
func enforced(t *testing.T, where string, r result, want *machine.Network) {
	t.Helper()
	if r.status != 0 || strings.Contains(r.stdout, "eth0") != want.Enabled {
		t.Errorf("%s: %+v", where, r)
	}
	const says = "smolvm: network: this machine may reach "
	if _, last, is := strings.Cut(r.stderr, says); is != want.Enabled || is && strings.SplitN(last, "\n", 2)[0] != want.String() {
		t.Errorf("%s: the network says %q, want %q", where, last, want)
	}
}

func told(t *testing.T, where, doc string, want *machine.Network) {
	t.Helper()
	var got struct{ Network machine.Network }
	if err := json.Unmarshal([]byte(doc), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got.Network, want) {
		t.Errorf("%s tells %+v, want %+v", where, got.Network, want)
	}
}
