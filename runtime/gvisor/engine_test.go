package gvisor

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime/enginetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

// buildParts makes what the engine needs, from the real agent and sentry.
func buildParts(t *testing.T) map[string]string {
	t.Helper()
	dir := enginetest.Dir(t)
	sentry, err := filepath.Abs("../../build/bin/sentry")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(sentry); err != nil {
		if out, err := exec.Command("../../cmd/sentry/build.sh", sentry).CombinedOutput(); err != nil {
			t.Fatalf("build the sentry: %v\n%s", err, out)
		}
	}
	return map[string]string{
		manifest.KindSentry: sentry,
		manifest.KindAgent:  enginetest.BuildAgent(t, dir),
		manifest.KindRootfs: enginetest.BuildRootfs(t, dir),
	}
}

// R1, R2, R3, R6, R7, R8, R10, D4, S5: the engine keeps the contract, for root
// and for somebody without privileges.
func TestConformance(t *testing.T) {
	if env, ok := enginetest.Supervised(); ok {
		enginetest.Run(t, New(), env)
		return
	}
	parts := buildParts(t)
	for name, uid := range map[string]int{"root": 0, "unprivileged": 1000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			enginetest.Supervise(t, uid, "TestConformance", parts)
		})
	}
}
