package source

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// P12
func TestDownloadTrouble(t *testing.T) {
	noCredentials(t)
	reg := newTestRegistry(t)
	big := strings.Repeat("0123456789abcdef", 1<<16)
	img, err := mutate.AppendLayers(testImage(t, linuxAMD64, compression.GZip),
		testLayer(t, testTar(t, "big", big), compression.None))
	if err != nil {
		t.Fatal(err)
	}
	reg.push(t, "img:1", img)
	layers, _ := img.Layers()
	layer, _ := layers[0].Digest()
	rc, _ := layers[0].Compressed()
	body, _ := io.ReadAll(rc)
	pull := func() ([]string, error) {
		return names(t, reg.host+"/img:1", Options{Platform: linuxAMD64, Stall: 300 * time.Millisecond})
	}
	onLayer := func(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
		reg.reset(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.HasSuffix(r.URL.Path, layer.String()) {
				f(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	ranged := func(w http.ResponseWriter, r *http.Request, limit int) {
		http.ServeContent(&cutWriter{ResponseWriter: w, left: limit}, r, "", time.Time{}, bytes.NewReader(body))
	}

	t.Run("resumes after breaks", func(t *testing.T) {
		ranges := 0
		onLayer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			if r.Header.Get("Range") != "" {
				ranges++
			}
			ranged(w, r, 400_000)
		})
		got, err := pull()
		wantNames(t, got, err, "big")
		if ranges != 2 {
			t.Errorf("%d requests resumed, want 2", ranges)
		}
	})
	t.Run("resumes after a stall", func(t *testing.T) {
		stalls := 0
		onLayer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			if stalls++; stalls > 1 {
				ranged(w, r, len(body))
				return
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.Write(body[:1000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		got, err := pull()
		wantNames(t, got, err, "big")
		if stalls != 2 {
			t.Errorf("%d requests, want 2", stalls)
		}
	})
	t.Run("a registry that cannot resume", func(t *testing.T) {
		n := 0
		onLayer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			r.Header.Del("Range")
			if n++; n == 1 {
				ranged(w, r, 5000)
				return
			}
			ranged(w, r, len(body))
		})
		got, err := pull()
		wantNames(t, got, err, "big")
	})
	t.Run("a registry with a bad moment", func(t *testing.T) {
		n := 0
		onLayer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			if n++; n < 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			ranged(w, r, len(body))
		})
		got, err := pull()
		wantNames(t, got, err, "big")
	})
	t.Run("always stalls", func(t *testing.T) {
		onLayer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		_, err := pull()
		wantError(t, err, "the registry sent nothing for 300ms")
		if n := reg.asked(layer.String()); n != maxAttempts {
			t.Errorf("%d attempts, want %d", n, maxAttempts)
		}
	})
	t.Run("never ends", func(t *testing.T) {
		onLayer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			for r.Context().Err() == nil {
				if _, err := w.Write(body); err != nil {
					return
				}
			}
		})
		_, err := pull()
		wantError(t, err, "more than the")
	})
	t.Run("other contents of the right length", func(t *testing.T) { // P11
		onLayer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			w.Write(bytes.Replace(body, []byte("0123"), []byte("3210"), 1))
		})
		_, err := pull()
		wantError(t, err, layer.String(), "was exchanged")
	})
	t.Run("bomb", func(t *testing.T) {
		reg.reset(nil)
		_, err := names(t, reg.host+"/img:1", Options{Platform: linuxAMD64, MaxUnpacked: 100_000})
		wantError(t, err, "decompression bomb")
	})
}

// cutWriter breaks the connection after some bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 && n < len(p) {
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// Closing an image ends its downloads, however slow they are.
func TestCloseEndsDownloads(t *testing.T) {
	noCredentials(t)
	reg := newTestRegistry(t)
	src := testImage(t, linuxAMD64, compression.GZip, "a", "b", "c", "d", "e", "f", "g")
	reg.push(t, "img:1", src)
	reg.reset(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if reg.asked("/blobs/") > 1 {
			<-r.Context().Done()
			return
		}
		next.ServeHTTP(w, r)
	})
	img, err := Open(t.Context(), reg.host+"/img:1", Options{Platform: linuxAMD64})
	if err != nil {
		t.Fatal(err)
	}
	rc, err := img.Layers[6].stored(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := img.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := rc.Read(make([]byte, 1)); err == nil {
		t.Error("reading from a closed image succeeded")
	}
}
