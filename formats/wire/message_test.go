package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

type headerVector struct{ Name, Header, Code string }

func TestHeaderVectors(t *testing.T) { // S3
	for _, v := range loadVectors[headerVector](t, "headers.json") {
		t.Run(v.Name, func(t *testing.T) {
			h, err := DecodeHeader([]byte(v.Header))
			if v.Code == "" {
				if err != nil || h == nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var refusal *Error
			if !errors.As(err, &refusal) || string(refusal.Code) != v.Code {
				t.Fatalf("err = %v, want code %s", err, v.Code)
			}
			if strings.ContainsRune(refusal.Message, '\n') {
				t.Errorf("message has several lines: %q", refusal.Message)
			}
		})
	}
}

// R1: arguments with spaces, newlines, nothing in them, and bytes that are no
// text.
func TestExecHeaderRoundTrip(t *testing.T) {
	want := &Header{Op: OpExec, Exec: &Exec{
		Argv: []string{"printf", "a b\n", "", "\xff\xfe\x80", `"\u0041`},
		Env:  []string{"A=é", "B=\xc3\x28", "EMPTY="},
		TTY:  true, Size: &Size{Rows: 24, Cols: 80}, Stdin: true, WorkingDir: "/tmp/a b", User: "0:0", TimeoutMillis: 1500,
	}}
	var b bytes.Buffer
	if err := SendHeader(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadHeader(NewReader(&b))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got.Exec, err, want.Exec)
	}
}

func TestReadHeaderTellsRefusalFromBrokenStream(t *testing.T) {
	var refusal *Error
	for name, in := range map[string]string{
		"another frame first": "\x03\x00\x00\x00\x00",
		"oversized header":    "\x01\xff\xff\xff\xff",
		"unknown type":        "GET / HTTP/1.1\r\n\r\n",
	} {
		if _, err := ReadHeader(NewReader(strings.NewReader(in))); !errors.As(err, &refusal) || refusal.Code != CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, in := range map[string]string{"nothing": "", "half": "\x01\x00\x00\x00\x09{"} {
		if _, err := ReadHeader(NewReader(strings.NewReader(in))); errors.As(err, &refusal) ||
			(!errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A request too large for a header is the sender's error, said before a byte
// is written.
func TestSendHeaderRefusesWhatThePeerWould(t *testing.T) {
	for name, e := range map[string]*Exec{
		"5 MiB argument": {Argv: []string{"echo", strings.Repeat("x", 5<<20)}},
		"no command":     {},
		"NUL":            {Argv: []string{"a\x00"}},
	} {
		var b bytes.Buffer
		if err := SendHeader(&b, &Header{Op: OpExec, Exec: e}); err == nil || b.Len() != 0 {
			t.Errorf("%s: err = %v, %d bytes written", name, err, b.Len())
		}
	}
}

func TestReadMessageRefusesWhatIsNoMessage(t *testing.T) {
	var e Exit
	if err := ReadMessage(FrameExit, []byte(`{"code":"zero"}`), &e); !errors.Is(err, ErrFrame) {
		t.Errorf("err = %v", err)
	}
	if err := ReadMessage(FrameExit, []byte(`{"code":3,"later":[1]}`), &e); err != nil || e.Code != 3 {
		t.Errorf("exit = %+v, %v", e, err)
	}
}

func FuzzDecodeHeader(f *testing.F) { // S3
	for _, v := range loadVectors[headerVector](f, "headers.json") {
		f.Add([]byte(v.Header))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := DecodeHeader(in)
		var refusal *Error
		if err != nil {
			if !errors.As(err, &refusal) {
				t.Fatalf("an error that cannot be answered: %v", err)
			}
			return
		}
		b, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeHeader(b)
		if err != nil {
			t.Fatalf("own encoding refused: %v\n%s", err, b)
		}
		b2, _ := json.Marshal(again)
		if !bytes.Equal(b, b2) {
			t.Errorf("decode and encode do not settle:\n%s\n%s", b, b2)
		}
	})
}
