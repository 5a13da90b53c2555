package enginetest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
)

func (s *suite) startAnswers(t *testing.T) {
	m := s.start(t, nil)
	if _, err := m.ask(&wire.Header{Op: wire.OpPing}); err != nil {
		t.Errorf("ping: %v", err)
	}
	select {
	case <-m.Done():
		t.Error("Done is closed while the machine runs")
	default:
	}
}

func (s *suite) statuses(t *testing.T) {
	m := s.start(t, nil)
	for _, c := range []struct {
		script string
		code   int
		signal int
	}{
		{"exit 0", 0, 0}, {"exit 42", 42, 0}, {"exit 255", 255, 0}, {"kill -9 $$", 0, 9}, {"kill -TERM $$", 0, 15},
	} {
		r, err := m.exec("", "", "sh", "-c", c.script)
		if err != nil || r.Code != c.code || r.Signal != c.signal || r.Error != nil {
			t.Errorf("%s: %+v, %v", c.script, r.Exit, err)
		}
	}
	for argv0, code := range map[string]wire.ErrorCode{
		"/no/such": wire.CodeNotFound, "no-such": wire.CodeNotFound, "/etc/passwd": wire.CodeNotExecutable,
	} {
		if r, err := m.exec("", "", argv0); err != nil || r.Error == nil || r.Error.Code != code {
			t.Errorf("%s: %+v, %v", argv0, r.Exit, err)
		}
	}
}

func (s *suite) streams(t *testing.T) {
	m := s.start(t, nil)
	in := string(bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)) // 1 MiB
	r, err := m.exec("", in, "sh", "-c", "tee /dev/stderr")
	if err != nil || r.Code != 0 {
		t.Fatalf("%+v, %v", r.Exit, err)
	}
	if r.out != in || r.err != in {
		t.Errorf("of %d bytes came back %d and %d", len(in), len(r.out), len(r.err))
	}
	if got := m.sh("head -c 10000000 /dev/zero | tr '\\0' x"); len(got) != 10_000_000 {
		t.Errorf("of 10 MB arrived %d bytes", len(got))
	}
}

func (s *suite) image(t *testing.T) {
	m := s.start(t, nil)
	for _, c := range []struct{ script, want string }{
		{"cat /special/xattrs", "contents"},
		{"stat -c '%h' /special/link", "2"},
		{"stat -c '%a %u %g' /special/suid", "6755 70000 80000"},
		{"stat -c '%F %t %T' /special/null", "character special file 1 3"},
		{"stat -c '%F %t %T' /special/disk", "block special file 103 11170"},
		{"stat -c '%F' /special/fifo", "fifo"},
		{"probe xattr /special/xattrs user.test", `"value"`},
		{"probe xattr /special user.dir", `"of a directory"`},
		{"ls -a /special | tr '\\n' ' '", ". .. disk fifo link null suid xattrs"},
		{"(echo through >/special/fifo & cat /special/fifo)", "through"},
		// A change copies the file to the writable layer, with all it has.
		{"echo more >>/special/xattrs && probe xattr /special/xattrs user.test && cat /special/xattrs", "\"value\"contents\nmore"},
	} {
		if got := m.sh(c.script); got != c.want {
			t.Errorf("%s: %q, want %q", c.script, got, c.want)
		}
	}
	m.fails("probe xattr /special/xattrs user.none")
}

func (s *suite) writableRoot(t *testing.T) {
	m := s.start(t, nil)
	m.sh("for d in / /bin /etc /tmp /home/user; do echo x >$d/new && cat $d/new; done; rm /etc/motd; ! test -e /etc/motd")
	m.sh("mv /bin/renamed /bin/moved && mkdir /deep && ln -s /etc/passwd /deep/link && cat /deep/link")
	if r, err := m.exec("user", "", "sh", "-c", "id -u; echo x >/tmp/mine; echo x >/home/user/mine"); err != nil || r.Code != 0 || strings.TrimSpace(r.out) != "1000" {
		t.Errorf("as a user: %+v %q %q, %v", r.Exit, r.out, r.err, err)
	}
	if r, err := m.exec("user", "", "sh", "-c", "echo x >/etc/passwd"); err != nil || r.Code == 0 {
		t.Errorf("a user wrote to /etc/passwd: %+v, %v", r.Exit, err)
	}
}

func (s *suite) fullDisk(t *testing.T) {
	m := s.start(t, func(c *machine.Config) { c.StorageMiB = 32 })
	complaint := m.fails("dd if=/dev/zero of=/big bs=1M count=100")
	if !strings.Contains(complaint, "No space left on device") {
		t.Errorf("dd says %q", complaint)
	}
	// The machine goes on, and what is deleted can be used again.
	m.sh("rm /big && dd if=/dev/zero of=/small bs=1M count=8 && echo fine")
}

func (s *suite) muchDisk(t *testing.T) {
	m := s.start(t, func(c *machine.Config) { c.MemoryMiB = 192; c.StorageMiB = 1024 })
	if got := m.sh("dd if=/dev/zero of=/big bs=1M count=400 2>/dev/null && stat -c %s /big"); got != "419430400" {
		t.Errorf("of 400 MiB were written %s bytes", got)
	}
	m.sh("dd if=/big of=/dev/null bs=1M && rm /big")
}

func (s *suite) view(t *testing.T) {
	m := s.start(t, func(c *machine.Config) { c.CPUs = 1; c.MemoryMiB = 200 })
	if got := m.sh("nproc"); got != "1" {
		t.Errorf("the guest sees %s CPUs", got)
	}
	if got := m.sh("hostname"); got != "guest" {
		t.Errorf("the guest is called %s", got)
	}
	// A kernel keeps some for itself, but gives most of it.
	var kib int
	if _, err := fscan(m.sh("sed -n 's/MemTotal: *//p' /proc/meminfo"), &kib); err != nil || kib > 200<<10 || kib < 150<<10 {
		t.Errorf("the guest sees %d KiB, %v", kib, err)
	}
	two := s.start(t, func(c *machine.Config) { c.CPUs = 2 })
	if got := two.sh("nproc"); got != "2" && len(two.Unenforced()) == 0 {
		t.Errorf("the guest sees %s CPUs of 2, and nothing says why", got)
	}
}

// tooMuchMemory takes twice the machine's memory. The command or the machine
// must end, with the reason, unless the engine said that it cannot enforce it.
func (s *suite) tooMuchMemory(t *testing.T) {
	m := s.start(t, func(c *machine.Config) { c.MemoryMiB = 192 })
	for _, line := range m.Unenforced() {
		if strings.HasPrefix(line, "memory: ") {
			return
		}
	}
	r, err := m.exec("", "", "probe", "eat", "400")
	if err == nil {
		if r.Code == 0 && r.Signal == 0 {
			t.Errorf("a command took 400 MiB of 192: %+v %q", r.Exit, r.out)
		}
		return
	}
	if err := m.wait(); err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("the machine ended with %v", err)
	}
}
