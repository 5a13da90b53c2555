//go:build lab

package lab

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime/enginetest"
)

// conformanceImage is the suite's image in $SMOLVM_KRUN_PARTS. Compiling takes
// long in the lab, so build.sh has TestMakeImage make it outside.
const conformanceImage = "conformance.erofs"

// outsideEnv says that this program runs on the host, to prepare the lab.
const outsideEnv = "LAB_PREPARE"

func TestMakeImage(t *testing.T) {
	if os.Getenv(outsideEnv) == "" {
		return
	}
	made := enginetest.BuildRootfs(t, enginetest.Dir(t))
	b, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(partsIn, conformanceImage), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// R1, R2, R3, R6, R7, R8, R10, D4, S5: the engine keeps the contract.
func TestConformance(t *testing.T) {
	parts := config().Parts
	parts[manifest.KindRootfs] = filepath.Join(partsIn, conformanceImage)
	own, err := os.MkdirTemp(scratch, "suite-")
	if err != nil {
		t.Fatal(err)
	}
	enginetest.Run(t, newEngine(t), enginetest.Env{Parts: parts, Scratch: own, Dir: t.TempDir()})
}
