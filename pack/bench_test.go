package pack

import (
	"os"
	"testing"
)

// BenchmarkBuild packs $SMOLVM_BENCH_IMAGE without a cache.
func BenchmarkBuild(b *testing.B) {
	image := os.Getenv("SMOLVM_BENCH_IMAGE")
	if image == "" {
		b.Skip("SMOLVM_BENCH_IMAGE names no image")
	}
	o := testOptions(b, image, testParts(b))
	o.CacheDir = ""
	for b.Loop() {
		build(b, o)
	}
}
