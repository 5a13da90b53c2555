package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/wire"
)

func TestExitStatus(t *testing.T) { // R1
	g := start(t)
	sh := func(s string) wire.Exec { return wire.Exec{Argv: []string{"sh", "-c", s}} }
	for name, tt := range map[string]struct {
		req  wire.Exec
		want wire.Exit
		code wire.ErrorCode
	}{
		"0":                          {req: sh("exit 0")},
		"1":                          {req: sh("exit 1"), want: wire.Exit{Code: 1}},
		"42":                         {req: sh("exit 42"), want: wire.Exit{Code: 42}},
		"255":                        {req: sh("exit 255"), want: wire.Exit{Code: 255}},
		"SIGKILL":                    {req: sh("kill -9 $$"), want: wire.Exit{Signal: 9}},
		"SIGTERM":                    {req: sh("kill -15 $$"), want: wire.Exit{Signal: 15}},
		"not found":                  {req: wire.Exec{Argv: []string{"no-such-command"}}, code: wire.CodeNotFound},
		"not found by path":          {req: wire.Exec{Argv: []string{"/bin/no-such"}}, code: wire.CodeNotFound},
		"empty name":                 {req: wire.Exec{Argv: []string{""}}, code: wire.CodeNotFound},
		"path through a file":        {req: wire.Exec{Argv: []string{"/bin/sh/x"}}, code: wire.CodeNotFound},
		"interpreter missing":        {req: wire.Exec{Argv: []string{"nointerp"}}, code: wire.CodeNotFound},
		"not in the PATH given":      {req: wire.Exec{Argv: []string{"sh"}, Env: []string{"PATH=/etc"}}, code: wire.CodeNotFound},
		"no x bit":                   {req: wire.Exec{Argv: []string{"plain"}}, code: wire.CodeNotExecutable},
		"no x bit by path":           {req: wire.Exec{Argv: []string{"/etc/noexec"}}, code: wire.CodeNotExecutable},
		"a directory":                {req: wire.Exec{Argv: []string{"/etc"}}, code: wire.CodeNotExecutable},
		"not a program":              {req: wire.Exec{Argv: []string{"garbage"}}, code: wire.CodeNotExecutable},
		"unknown user":               {req: wire.Exec{Argv: []string{"true"}, User: "nobody-here"}, code: wire.CodeBadRequest},
		"unknown group":              {req: wire.Exec{Argv: []string{"true"}, User: "0:nobody-here"}, code: wire.CodeBadRequest},
		"working directory a file":   {req: wire.Exec{Argv: []string{"true"}, WorkingDir: "/etc/passwd"}, code: wire.CodeBadRequest},
		"working directory closed":   {req: wire.Exec{Argv: []string{"true"}, WorkingDir: "/secret", User: "alice"}, code: wire.CodeNotExecutable},
		"argument list far too long": {req: wire.Exec{Argv: []string{"true", strings.Repeat("x", 3<<20)}}, code: wire.CodeNotExecutable},
	} {
		t.Run(name, func(t *testing.T) {
			got := g.begin(t, tt.req).wait()
			if tt.code != "" {
				if got.Error == nil || got.Error.Code != tt.code || strings.Contains(got.Error.Message, "\n") {
					t.Fatalf("error = %+v, want %s in one line", got.Error, tt.code)
				}
				t.Log(got.Error.Message)
				return
			}
			got.OOM = false // who else is short of memory here is chance
			if *got != tt.want {
				t.Errorf("exit = %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestArgumentsArriveUnchanged(t *testing.T) { // R1
	g := start(t)
	args := []string{"a b", "", "new\nline", "$HOME", "\xff\xfe", "é"}
	c := g.begin(t, wire.Exec{Argv: append([]string{"sh", "-c", `for a; do echo "[$a]"; done`, "sh"}, args...)})
	c.wait()
	if want := "[" + strings.Join(args, "]\n[") + "]\n"; c.stdout.String() != want {
		t.Errorf("got %q\nwant %q", c.stdout.String(), want)
	}
}

func TestEnvironment(t *testing.T) { // R1, P3
	g := start(t)
	get := func(req wire.Exec) string {
		req.Argv = []string{"/bin/env"}
		c := g.begin(t, req)
		c.wait()
		return c.stdout.String()
	}
	const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
	for name, tt := range map[string]struct {
		req  wire.Exec
		want string
	}{
		"nothing given":     {wire.Exec{}, path + "HOME=/root\nHOSTNAME=box\n"},
		"a user's home":     {wire.Exec{User: "alice"}, path + "HOME=/home/alice\nHOSTNAME=box\n"},
		"no entry":          {wire.Exec{User: "4242"}, path + "HOME=/\nHOSTNAME=box\n"},
		"given ones stay":   {wire.Exec{Env: []string{"HOME=/x", "PATH=/bin", "HOSTNAME=h", "A=1"}}, "HOME=/x\nPATH=/bin\nHOSTNAME=h\nA=1\n"},
		"the last one wins": {wire.Exec{Env: []string{"A=1", "HOME=/", "A=2", "HOSTNAME=", "PATH=/bin"}}, "A=2\nHOME=/\nHOSTNAME=\nPATH=/bin\n"},
	} {
		if got := get(tt.req); got != tt.want {
			t.Errorf("%s: got\n%swant\n%s", name, got, tt.want)
		}
	}
}

func TestUser(t *testing.T) { // P3, R7
	g := start(t)
	for user, want := range map[string]string{
		"":            "0 0 0 10",
		"alice":       "1000 1000 1000 10 44",
		"1000":        "1000 1000 1000 10 44",
		"alice:":      "1000 1000 1000 10 44",
		"alice:video": "1000 44 44",
		"alice:77":    "1000 77 77",
		"4242":        "4242 0 0",
		"4242:4343":   "4242 4343 4343",
	} {
		c := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "echo $(id -u) $(id -g) $(id -G)"}, User: user})
		if e := c.wait(); strings.TrimSpace(c.stdout.String()) != want {
			t.Errorf("user %q: %q (%v), want %q", user, c.stdout.String(), e.Error, want)
		}
	}
}

// R7: permissions are the image's, for users without privileges too, and root
// in the machine is docker's root: no CAP_SYS_ADMIN.
func TestPermissions(t *testing.T) {
	g := start(t)
	alice := func(script string) *wire.Exit {
		return g.begin(t, wire.Exec{Argv: []string{"sh", "-c", script}, User: "alice", WorkingDir: "/home/alice"}).wait()
	}
	for script, ok := range map[string]bool{
		"echo x > /home/alice/f && echo y > /tmp/f": true,
		"echo x > /etc/f":      false,
		"ls /secret":           false,
		"echo x > /dev/stdout": true,
		"echo x > /dev/null":   true,
	} {
		if got := alice(script); (got.Code == 0) != ok || got.Error != nil {
			t.Errorf("as alice: %s: %+v", script, got)
		}
	}
	g.sh(t, "ls /secret && touch /usr/new /home/new /etc/new /bin/new && mkdir /opt && [ $(umask) = 0022 ]")
	if got := g.sh(t, "grep -e CapBnd -e CapEff -e CapInh -e NoNewPrivs /proc/self/status"); got !=
		"CapInh:\t0000000000000000\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t0" {
		t.Errorf("root's capabilities:\n%s", got)
	}
	if got := g.begin(t, wire.Exec{Argv: []string{"mount", "-t", "tmpfs", "x", "/tmp"}}).wait(); got.Code == 0 {
		t.Error("a command could mount")
	}
}

// R7: setuid programs of the image give their owner's rights, as in docker.
func TestSetuid(t *testing.T) {
	image := t.TempDir()
	if err := buildImage(image); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.WriteFile(filepath.Join(image, "etc/passwd"), []byte("root::0:0:root:/:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n"), 0o644),
		os.Remove(filepath.Join(image, "bin/su")),
		os.Rename(filepath.Join(image, "bin/busybox"), filepath.Join(image, "bin/su")),
		os.Symlink("su", filepath.Join(image, "bin/busybox")),
		os.Chmod(filepath.Join(image, "bin/su"), 0o755|os.ModeSetuid),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	g := startWith(t, setup{image: image, boot: defaultBoot()})
	c := g.begin(t, wire.Exec{Argv: []string{"su", "-c", "id -u; grep CapEff /proc/self/status", "root"}, User: "alice"})
	if e := c.wait(); e.Code != 0 || c.stdout.String() != "0\nCapEff:\t00000000a80425fb\n" {
		t.Errorf("%+v %q %q", e, c.stdout.String(), c.stderr.String())
	}
}

func TestWorkingDirectory(t *testing.T) { // P3
	g := start(t)
	for dir, want := range map[string]string{"": "/", "/etc": "/etc", "/new/deep dir": "/new/deep dir", "../../tmp": "/tmp"} {
		c := g.begin(t, wire.Exec{Argv: []string{"pwd"}, WorkingDir: dir})
		if e := c.wait(); e.Code != 0 || strings.TrimSpace(c.stdout.String()) != want {
			t.Errorf("%q: %q %+v", dir, c.stdout.String(), e)
		}
	}
	c := g.begin(t, wire.Exec{Argv: []string{"./sh", "-c", "echo ok"}, WorkingDir: "/bin"})
	if e := c.wait(); e.Code != 0 {
		t.Errorf("relative command: %+v %v", e, e.Error)
	}
}
