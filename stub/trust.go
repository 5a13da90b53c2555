package stub

import (
	"errors"
	"slices"
	"strings"
)

// requireFlag demands that one of the keys it names signed the pack. It is
// passed on to the runtime as sidecar.TrustVariable, in place of what that was.
const requireFlag = "--require-signature"

// required takes the demand for a signature out of the arguments. It must come
// before all others (--force-extract may stand before it): the launcher cannot
// tell which words belong to the runtime's options and which to the command,
// and a demand that nobody obeys would be worse than an error. So anywhere else
// it is one, up to a "--".
func required(args []string) (who string, rest []string, err error) {
	at := min(1, len(args))
	for at < len(args) && args[at] == forceFlag {
		at++
	}
	rest = args
	if at < len(args) {
		value, inOne := strings.CutPrefix(args[at], requireFlag+"=")
		switch {
		case inOne:
			who, rest = value, slices.Delete(slices.Clone(args), at, at+1)
		case args[at] == requireFlag && at+1 < len(args):
			who, rest = args[at+1], slices.Delete(slices.Clone(args), at, at+2)
		}
		if len(rest) < len(args) && who == "" {
			return "", nil, errors.New(requireFlag + " needs a public key, or the path of a file of them")
		}
	}
	for _, a := range rest[at:] {
		if a == "--" {
			break
		}
		if a == requireFlag || strings.HasPrefix(a, requireFlag+"=") {
			return "", nil, errors.New(requireFlag + " KEY is the launcher's: put it before all else, and -- before a command that has an option of this name")
		}
	}
	return who, rest, nil
}
