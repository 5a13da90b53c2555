package machines

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/runtime/ladder"
	"github.com/smolvm/smolvm/sidecar"
)

// noticeDropped says which isolation levels are not possible here, the first
// time since the host booted: every run would be noise.
func noticeDropped(found []ladder.Finding, stdio cli.Stdio) {
	var text strings.Builder
	for _, f := range found {
		fmt.Fprintf(&text, "smolvm: isolation level %s is not possible here: %v\n", f.Engine.Isolation(), f.Err)
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	said := string(boot) + text.String()
	dir, err := sidecar.DefaultCacheDir()
	if err == nil {
		name := filepath.Join(dir, "noticed")
		if before, _ := os.ReadFile(name); string(before) == said {
			return
		}
		// If it cannot be remembered it is said again.
		_ = os.WriteFile(name, []byte(said), 0o600)
	}
	fmt.Fprint(stdio.Err, text.String())
}
