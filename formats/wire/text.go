package wire

import (
	"encoding/json"
	"unicode/utf8"
)

// Arguments and environment are bytes on Linux, but JSON strings are Unicode.
// A list that is not valid UTF-8 travels as base64 under a name of its own.

type plainExec Exec // the fields without the methods

type rawExec struct {
	plainExec
	ArgvBytes [][]byte `json:"argvBytes,omitempty"`
	EnvBytes  [][]byte `json:"envBytes,omitempty"`
}

// MarshalJSON moves lists that JSON strings cannot carry to argvBytes and
// envBytes.
func (e Exec) MarshalJSON() ([]byte, error) {
	raw := rawExec{plainExec: plainExec(e)}
	if !valid(e.Argv) {
		raw.Argv, raw.ArgvBytes = nil, toBytes(e.Argv)
	}
	if !valid(e.Env) {
		raw.Env, raw.EnvBytes = nil, toBytes(e.Env)
	}
	return json.Marshal(raw)
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (e *Exec) UnmarshalJSON(b []byte) error {
	var raw rawExec
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*e = Exec(raw.plainExec)
	if raw.ArgvBytes != nil {
		e.Argv = toStrings(raw.ArgvBytes)
	}
	if raw.EnvBytes != nil {
		e.Env = toStrings(raw.EnvBytes)
	}
	return nil
}

func valid(list []string) bool {
	for _, s := range list {
		if !utf8.ValidString(s) {
			return false
		}
	}
	return true
}

func toBytes(list []string) [][]byte {
	out := make([][]byte, len(list))
	for i, s := range list {
		out[i] = []byte(s)
	}
	return out
}

func toStrings(list [][]byte) []string {
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = string(b)
	}
	return out
}
