package flatten

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkFlatten merges a layer the size of a small distribution: ten thousand
// files, 200 MB. The goal is a fraction of what compressing it takes.
func BenchmarkFlatten(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	body := make([]byte, 40_000)
	for n := range body {
		body[n] = byte(random.Uint32())
	}
	var members []member
	for n := range 10_000 {
		members = append(members, file(fmt.Sprintf("usr/share/%d/%d", n%100, n), string(body[:random.IntN(len(body))])))
	}
	data := archive(b, members...)
	dst := discard(b)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := dst.Truncate(0); err != nil {
			b.Fatal(err)
		}
		if _, err := Write(context.Background(), layers(data), dst, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEntries measures what an entry costs apart from contents.
func BenchmarkEntries(b *testing.B) {
	var members []member
	for n := range 100_000 {
		members = append(members, file(fmt.Sprintf("some/directory/%d/file%d", n%1000, n), ""))
	}
	data := archive(b, members...)
	dst := discard(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := dst.Truncate(0); err != nil {
			b.Fatal(err)
		}
		if _, err := Write(context.Background(), layers(data), dst, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(members)), "ns/entry")
}
