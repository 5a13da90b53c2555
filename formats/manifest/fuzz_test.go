package manifest

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func seed(f *testing.F) {
	f.Helper()
	for _, kind := range []string{"valid", "invalid"} {
		for _, path := range glob(f, kind) {
			f.Add(read(f, path))
		}
	}
	f.Add(encode(f, full()))
}

// What Decode accepts encodes and decodes to the same thing.
func FuzzDecode(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		m, err := Decode(doc)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
			return
		}
		again, err := Decode(encode(t, m))
		if err != nil {
			t.Fatal(err)
		}
		if a, b := encode(t, m), encode(t, again); string(a) != string(b) {
			t.Errorf("%s became %s", a, b)
		}
	})
}

// A launcher reads what everybody else reads: on every document that Decode
// accepts, DecodeLaunch finds the same runtime, or that there is none.
func FuzzLaunch(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		m, err := Decode(doc)
		if err != nil {
			return
		}
		l, err := DecodeLaunch(doc)
		want, ok := m.Section(KindRuntime, "")
		if !ok {
			if !errors.Is(err, ErrNoRuntime) {
				t.Errorf("there is no runtime, but the launcher says %v, %v", l, err)
			}
			return
		}
		if err != nil {
			t.Fatalf("the launcher refuses what Decode accepts: %v", err)
		}
		if len(want.Frames) == 0 && len(l.Runtime.Frames) == 0 {
			want.Frames, l.Runtime.Frames = nil, nil
		}
		if !reflect.DeepEqual(l, Launch{m.Platform, want}) {
			t.Errorf("the launcher reads %+v, Decode %+v", l, want)
		}
	})
}

// The scanner accepts no document that encoding/json refuses, and of those
// that it accepts it knows the names and strings.
func FuzzScanner(f *testing.F) {
	seed(f)
	f.Add([]byte(`{"a":"\ud83d\ude00\u00e9\n\/","b":[-0.5e+7,0,true,false,null],"":{}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		got := make(map[string]string)
		s := scanner{doc: doc}
		err := s.object(func(name string) error {
			if s.peek() != '"' {
				return s.skip()
			}
			text, err := s.text()
			got[name] = text
			return err
		})
		if err == nil {
			err = s.end()
		}
		if err != nil {
			return
		}
		var want map[string]any
		if err := json.Unmarshal(doc, &want); err != nil {
			t.Fatalf("accepted %q, but encoding/json says: %v", doc, err)
		}
		for name, text := range got {
			if want[name] != text {
				t.Errorf("%q is %q, but encoding/json reads %q", name, text, want[name])
			}
		}
	})
}
