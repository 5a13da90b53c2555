//go:build !cgo

// A C library keeps Go from changing what all threads may do.
package outside

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/smolvm/smolvm/runtime/confine/confinetest"
)

// unconfined leaves the confinement of the process under attack out.
const unconfined = "SMOLVM_TEST_UNCONFINED"

// The test program is also a machine's network that somebody has taken over.
func TestMain(m *testing.M) {
	if os.Getenv(confinetest.Environ) == "" {
		os.Exit(m.Run())
	}
	if os.Getenv(unconfined) == "" {
		if err := confineSelf(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if err := confinetest.Attack(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// S5, S3: what a machine's network process cannot do to its host, should a
// guest take it over. To connect to the outside is its work.
func TestConfinement(t *testing.T) {
	for what, err := range attack(t) {
		if works, allowed := err == "", what == "connect out"; works != allowed {
			t.Errorf("%s: works: %v (%s)", what, works, err)
		}
	}
}

// S3: the attacks work where nothing is confined, so that their failure means
// something.
func TestAttacksAreReal(t *testing.T) {
	for what, err := range attack(t, unconfined+"=1") {
		if err != "" {
			t.Errorf("%s: %s", what, err)
		}
	}
}

func attack(t *testing.T, env ...string) map[string]string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(env, confinetest.New(t).Env())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	report, err := confinetest.Report(&out)
	if err != nil {
		t.Fatal(err)
	}
	return report
}
