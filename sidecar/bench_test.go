package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/smolvm/smolvm/formats/manifest"
)

// program returns n bytes that compress like an image does: SIDECAR_BENCH_FILE,
// or this program, over and over, too far apart for a frame to notice.
func program(b *testing.B, n int) []byte {
	b.Helper()
	path := os.Getenv("SIDECAR_BENCH_FILE")
	if path == "" {
		path = os.Args[0]
	}
	one := readFile(b, path)
	return bytes.Repeat(one, n/len(one)+1)[:n]
}

func BenchmarkAdd(b *testing.B) {
	data := program(b, 100<<20)
	for _, level := range []int{1, 3, 7} {
		b.Run(fmt.Sprintf("level=%d", level), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				w, err := Create(filepath.Join(b.TempDir(), "x"))
				if err != nil {
					b.Fatal(err)
				}
				s, err := w.Add(context.Background(), Spec{Kind: manifest.KindRootfs, Level: level}, bytes.NewReader(data))
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(100*float64(s.StoredSize)/float64(s.Size), "%size")
				w.Abort()
			}
		})
	}
}

// The yardstick of the first run of a pack: zstd -dc of the same section to a
// file, in the same minute.
func BenchmarkExtract(b *testing.B) {
	data := program(b, 200<<20)
	for _, size := range []int64{1 << 20, 4 << 20, 8 << 20} {
		dir := b.TempDir()
		r, sections := writeSidecar(b, filepath.Join(dir, "x"), part{Spec{Kind: manifest.KindRootfs, FrameSize: size}, data})
		stored, err := r.Stored(sections[0])
		if err != nil {
			b.Fatal(err)
		}
		compressed, err := io.ReadAll(stored)
		if err != nil {
			b.Fatal(err)
		}
		writeFile(b, filepath.Join(dir, "x.zst"), compressed)
		b.Run(fmt.Sprintf("frame=%dK", size>>10), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			ours, theirs := time.Hour, time.Hour
			for b.Loop() {
				begin := time.Now()
				f, err := os.Create(filepath.Join(dir, "out"))
				if err != nil {
					b.Fatal(err)
				}
				if err := r.Extract(context.Background(), sections[0], f, nil); err != nil {
					b.Fatal(err)
				}
				f.Close()
				ours = min(ours, time.Since(begin))
				os.Remove(f.Name())

				b.StopTimer()
				begin = time.Now()
				if out, err := exec.Command("zstd", "-qdfo", filepath.Join(dir, "out"), filepath.Join(dir, "x.zst")).CombinedOutput(); err != nil {
					b.Fatalf("zstd: %v: %s", err, out)
				}
				theirs = min(theirs, time.Since(begin))
				b.StartTimer()
			}
			b.ReportMetric(float64(ours)/float64(theirs), "of-zstd")
		})
	}
}

// What a warm run pays for the cache.
func BenchmarkFillWarm(b *testing.B) {
	r, s, _ := runtimeSidecar(b, 1<<20)
	b.Setenv("XDG_CACHE_HOME", b.TempDir())
	for b.Loop() {
		dir, err := DefaultCacheDir()
		if err != nil {
			b.Fatal(err)
		}
		c, err := OpenCache(dir)
		if err != nil {
			b.Fatal(err)
		}
		e, err := c.Fill(context.Background(), r, s, nil)
		if err != nil {
			b.Fatal(err)
		}
		e.Close()
		c.Close()
	}
}
