package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
)

// R5: which command a command line means, and what is left for it.
func TestChoose(t *testing.T) {
	for line, want := range map[string]string{
		"":                           "run",
		"echo hello":                 "run echo hello",
		"echo start":                 "run echo start",
		"start":                      "start",
		"start --cpus 2":             "start --cpus 2",
		"--cpus 2 start":             "start --cpus 2",
		"--name x exec -it sh":       "exec --name x -it sh",
		"-- start":                   "run -- start",
		"-e A=1 -- exec x":           "run -e A=1 -- exec x",
		"-e -- exec":                 "exec -e --", // the value of -e
		"run start":                  "run start",
		"run -- start":               "run -- start",
		"-it sh":                     "run -it sh",
		"-e A=1 -w /x sh -c start":   "run -e A=1 -w /x sh -c start",
		"--unknown start":            "run --unknown start",
		"-e A=1 --help":              "run -e A=1 --help",
		"--entrypoint /bin/sh -c ls": "run --entrypoint /bin/sh -c ls",
	} {
		a := &app{name: "my-app"}
		cmd, args := choose(a.program().Commands, strings.Fields(line))
		if got := strings.Join(append([]string{cmd.Name}, args...), " "); got != want {
			t.Errorf("%q means %q, want %q", line, got, want)
		}
	}
}

// Every command has help, with whole examples, and rejects what it does not
// know.
func TestCommands(t *testing.T) {
	a := &app{name: "my-app", sidecar: "/does/not/exist"}
	for _, cmd := range a.program().Commands {
		t.Run(cmd.Name, func(t *testing.T) {
			var out strings.Builder
			stdio := cli.Stdio{In: strings.NewReader(""), Out: &out, Err: &out}
			if err := cmd.Execute(t.Context(), "my-app "+cmd.Name, []string{"--help"}, stdio); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), "Usage: my-app "+cmd.Name) {
				t.Errorf("help is %q", out.String())
			}
			for _, e := range cmd.Examples {
				if !strings.Contains(e, "my-app") {
					t.Errorf("example %q", e)
				}
			}
			err := cmd.Execute(t.Context(), "my-app "+cmd.Name, []string{"--no-such-flag"}, stdio)
			if exit.Status(err) != exit.Usage {
				t.Errorf("unknown flag: %v", err)
			}
			if slices.Contains([]string{"run", "start", "exec", "cp"}, cmd.Name) {
				return
			}
			if err := cmd.Execute(t.Context(), "my-app "+cmd.Name, []string{"argument"}, stdio); exit.Status(err) != exit.Usage {
				t.Errorf("argument: %v", err)
			}
		})
	}
}

// R1, R9: what is wrong with a command line is said before anything is done.
func TestUsage(t *testing.T) {
	for line, want := range map[string]struct {
		status int
		text   string
	}{
		"exec":                          {exit.Usage, "my-app exec ls /"},
		"exec --timeout 0 x":            {exit.Usage, "--timeout"},
		"run --timeout x y":             {exit.Usage, "--timeout"},
		"run -e =x y":                   {exit.Usage, "KEY=VALUE"},
		"run -v x y":                    {exit.Usage, "HOST:GUEST"},
		"run --isolation none x":        {exit.Usage, "auto, vm or sandbox"},
		"run --name a/b x":              {exit.Usage, "--name"},
		"run --label =x y":              {exit.Usage, "--label"},
		"run --hostname -x y":           {exit.Usage, "--hostname"},
		"run --env-file no y":           {exit.Usage, "no such file"},
		"run -w x y":                    {exit.Usage, "absolute"},
		"run --cpus 0 x":                {exit.Usage, "1 to"},
		"run x":                         {exit.Failure, "/does/not/exist"},
		"status":                        {exit.Failure, "/does/not/exist"},
		"run -p 80:http x":              {exit.Usage, "not a port"},
		"start -p ::1:80:80":            {exit.Usage, "brackets"},
		"port 0:0":                      {exit.Usage, "not a port"},
		"run --allow-host 1.2.3.4 x":    {exit.Usage, "--allow-cidr"},
		"run --allow-host a/b x":        {exit.Usage, "host name"},
		"run --allow-cidr 10.0.0.1/8 x": {exit.Usage, "10.0.0.0/8"},
		"run --allow-cidr ::/0 x":       {exit.Usage, "IPv4"},
		"run --host-loopback 53 x":      {exit.Usage, "1 to 65535"},
	} {
		t.Setenv("SMOLMACHINE", "/does/not/exist")
		var out strings.Builder
		stdio := cli.Stdio{In: strings.NewReader(""), Out: &out, Err: &out}
		err := front(t.Context(), append([]string{"./my-app"}, strings.Fields(line)...), stdio)
		if exit.Status(err) != want.status || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%q: status %d, %v; want %d and %q", line, exit.Status(err), err, want.status, want.text)
		}
	}
}

func TestWithoutPack(t *testing.T) {
	t.Setenv("SMOLMACHINE", "")
	if err := front(t.Context(), []string{"runtime", "x"}, cli.OS()); err != errNoPack {
		t.Errorf("got %v", err)
	}
}
