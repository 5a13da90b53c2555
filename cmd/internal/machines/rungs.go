package machines

import (
	"sync"

	"github.com/smolvm/smolvm/runtime/gvisor"
	"github.com/smolvm/smolvm/runtime/krun"
	"github.com/smolvm/smolvm/runtime/ladder"
	"github.com/smolvm/smolvm/sidecar"
)

// Rungs are the engines there are, highest isolation first. An exec does not
// need them.
var Rungs = sync.OnceValue(func() ladder.Ladder {
	return ladder.Ladder{
		{Engine: krun.New(cacheDir()), Parts: krun.Parts(), ProbeAlways: true},
		{Engine: gvisor.New(), Parts: gvisor.Parts(), Sweep: gvisor.Sweep},
	}
})

// cacheDir may be empty: then nothing is remembered there.
func cacheDir() string {
	dir, _ := sidecar.DefaultCacheDir()
	return dir
}
