package stub

import (
	"crypto/ed25519"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/signature"
	"github.com/smolvm/smolvm/sidecar"
)

// signWith signs the sidecar called name with the key of a seed of n's.
func (b *bench) signWith(t testing.TB, name string, n byte, detached bool) {
	t.Helper()
	r, err := sidecar.Open(b.path(name))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	private := ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, ed25519.SeedSize))
	s := signature.Signature{Key: keyOf(n), Bytes: [64]byte(ed25519.Sign(private, signature.Message(r.Identity())))}
	if detached {
		err = r.SignBeside(b.path(name), s)
	} else {
		err = r.Sign(t.Context(), b.path(name), s)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func keyOf(n byte) signature.Key {
	private := ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, ed25519.SeedSize))
	return signature.Key(private.Public().(ed25519.PublicKey))
}

// untouched expects that nothing came out of the pack.
func (b *bench) untouched(t testing.TB) {
	t.Helper()
	if entries, err := os.ReadDir(b.path("home")); err == nil {
		t.Errorf("%v in the home directory", entries)
	}
}

// S1: a demanded signature is checked before anything is extracted or executed.
func TestRequireSignature(t *testing.T) {
	const own, app = "app/my-app.smolmachine", "app/my-app"
	b := newBench(t)
	mine, other := keyOf(1).String(), keyOf(2).String()
	b.write(t, "keys", []byte("# whom we trust\n"+other+"\n"+mine+" me\n"))
	env := b.env

	refused := func(want string, args ...string) {
		t.Helper()
		b.fails(t, []string{want}, append([]string{b.path(app)}, args...)...)
		b.untouched(t)
	}
	refused("is not signed", "--require-signature", mine)
	b.signWith(t, own, 1, false)
	refused("not among those to trust", "--require-signature="+other)
	b.env = append(env, "SMOLVM_TRUST="+other)
	refused("not among those to trust")
	b.env = append(env, "SMOLVM_TRUST=nowhere")
	refused("nowhere: no such file")
	b.env = append(env, "SMOLVM_TRUST="+mine)
	refused("not among those to trust", "--require-signature", other)
	b.env = env

	runs := func(args ...string) {
		t.Helper()
		out, errs, status := b.run(t, append([]string{b.path(app)}, args...)...)
		if status != 42 || errs != "" || strings.Contains(out, "signature") {
			t.Errorf("%q: status %d, %q, %q", args, status, out, errs)
		}
	}
	runs("--require-signature", mine, "a", "b")
	runs("--require-signature=keys")
	runs("--force-extract", "--require-signature", b.path("keys"), "a")
	b.env = append(env, "SMOLVM_TRUST="+mine)
	runs("--", "a")

	// The runtime hears of the demand and not of the option.
	b.env = append(env, "SMOLVM_TRUST="+other)
	b.pack(t, own, runtime.GOARCH, "#!/bin/sh\necho \"$# $1 $SMOLVM_TRUST\"\n")
	b.signWith(t, own, 1, true)
	if out, errs, _ := b.run(t, b.path(app), "--require-signature", mine, "-x"); out != "1 -x "+mine+"\n" {
		t.Errorf("the runtime got %q %q", out, errs)
	}
}

// A demand where the launcher cannot tell whose it is is an error, not ignored.
func TestRequireSignatureMisplaced(t *testing.T) {
	b := newBench(t)
	for _, args := range [][]string{
		{"--require-signature"},
		{"--require-signature", ""},
		{"--require-signature="},
		{"start", "--require-signature", "keys"},
		{"-e", "A=B", "--require-signature=keys"},
		{"--require-signature", "keys", "--require-signature", "keys"},
	} {
		b.fails(t, []string{"--require-signature"}, append([]string{b.path("app/my-app")}, args...)...)
		b.untouched(t)
	}
	out, _, status := b.run(t, b.path("app/my-app"), "--", "grep", "--require-signature", "x")
	if status != 42 || !strings.Contains(out, "arg=--require-signature\n") {
		t.Errorf("status %d, %q", status, out)
	}
}

// S1: with a signature demanded, nothing of a pack that was tampered with runs:
// its sections, its manifest, its footer, its signature, or all of it exchanged.
func TestTampered(t *testing.T) {
	const own = "app/my-app.smolmachine"
	for _, detached := range []bool{false, true} {
		b := newBench(t)
		b.signWith(t, own, 1, detached)
		b.env = append(b.env, "SMOLVM_TRUST="+keyOf(1).String())
		good, err := os.ReadFile(b.path(own))
		if err != nil {
			t.Fatal(err)
		}
		for at := range good {
			if at > 400 && at < len(good)-1600 || at%7 != 0 {
				continue
			}
			bad := slices.Clone(good)
			bad[at] ^= 4
			b.write(t, own, bad)
			b.fails(t, nil)
		}
		b.write(t, own, good)
		b.runs(t, own)
		if err := os.RemoveAll(b.path("home")); err != nil {
			t.Fatal(err)
		}

		b.pack(t, own, runtime.GOARCH, "#!/bin/sh\necho evil\n")
		b.fails(t, nil) // unsigned, or with a signature beside that is another's
		if !detached {
			b.signWith(t, own, 3, false)
			b.fails(t, []string{"not among those to trust"})
		}
		b.untouched(t)
	}
}
