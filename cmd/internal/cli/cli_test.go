package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/formats/exit"
)

// program echoes its arguments, fails on demand, and has a group.
func program() *Program {
	echo := &Command{
		Name: "echo", Short: "Print the arguments", Args: "[ARG...]",
		Examples: []string{"prog echo -n hi"},
		New: func(flags *pflag.FlagSet) RunFunc {
			n := flags.BoolP("no-newline", "n", false, "no newline")
			return func(_ context.Context, args []string, stdio Stdio) error {
				_, err := stdio.Out.Write([]byte(strings.Join(args, " ")))
				if !*n {
					stdio.Out.Write([]byte("\n"))
				}
				return err
			}
		},
	}
	fail := &Command{Name: "fail", Short: "Fail", New: func(*pflag.FlagSet) RunFunc {
		return func(context.Context, []string, Stdio) error { return errors.New("first\nsecond") }
	}}
	return &Program{Name: "prog", Short: "A program.", Commands: []*Command{
		echo, fail,
		{Name: "group", Short: "More", Commands: []*Command{echo}},
		{Name: "secret", Short: "Unlisted", Hidden: true, New: fail.New},
	}}
}

func TestProgram(t *testing.T) {
	for _, c := range []struct {
		args     string
		status   int
		out, err string // substrings; "" wants silence
	}{
		{"echo a b", 0, "a b\n", ""},
		{"echo -n a -n", 0, "a -n", ""},
		{"group echo x", 0, "x\n", ""},
		{"fail", exit.Failure, "", "smolvm: first; second\n"},
		{"", exit.Usage, "", "Usage: prog COMMAND"},
		{"nope", exit.Usage, "", `smolvm: unknown command "nope"; prog --help lists them`},
		{"echo --bad", exit.Usage, "", "smolvm: unknown flag: --bad; see prog echo --help"},
		{"--help", 0, "  echo   Print the arguments\n", ""},
		{"help echo", 0, "Usage: prog echo [FLAGS] [ARG...]", ""},
		{"echo --help", 0, "prog echo -n hi", ""},
		{"group", exit.Usage, "", "Usage: prog group COMMAND"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out, errOut bytes.Buffer
			status := program().Main(t.Context(), strings.Fields(c.args), Stdio{Out: &out, Err: &errOut})
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			for name, got := range map[string][2]string{"stdout": {out.String(), c.out}, "stderr": {errOut.String(), c.err}} {
				if (got[1] == "") != (got[0] == "") || !strings.Contains(got[0], got[1]) {
					t.Errorf("%s %q, want %q", name, got[0], got[1])
				}
			}
		})
	}
}

func TestHiddenCommandsAreNotListed(t *testing.T) {
	var out bytes.Buffer
	program().Main(t.Context(), []string{"--help"}, Stdio{Out: &out})
	if strings.Contains(out.String(), "secret") {
		t.Errorf("help lists a hidden command:\n%s", out.String())
	}
}
