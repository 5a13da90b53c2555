package isolate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
)

// idrange is one line of subuid(5) or subgid(5) that belongs to the caller.
type idrange struct{ start, count int }

// idmaps is what newuidmap and newgidmap are asked to write.
type idmaps struct {
	newuidmap, newgidmap string
	uids, gids           []idrange
}

// subordinate finds the caller's ranges and the tools that may map them. Any
// gap means that there are none.
func subordinate() (idmaps, bool) {
	var m idmaps
	var err error
	if m.newuidmap, err = exec.LookPath("newuidmap"); err != nil {
		return m, false
	}
	if m.newgidmap, err = exec.LookPath("newgidmap"); err != nil {
		return m, false
	}
	owners := []string{strconv.Itoa(os.Getuid())}
	if u, err := user.LookupId(owners[0]); err == nil {
		owners = append(owners, u.Username)
	}
	m.uids = rangesOf("/etc/subuid", owners)
	m.gids = rangesOf("/etc/subgid", owners)
	return m, len(m.uids) > 0 && len(m.gids) > 0
}

func rangesOf(path string, owners []string) []idrange {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	return parseRanges(f, owners)
}

// parseRanges reads lines of "owner:start:count". Lines that are not of that
// form are somebody else's trouble and are skipped.
func parseRanges(r io.Reader, owners []string) []idrange {
	var out []idrange
	lines := bufio.NewScanner(r)
	for lines.Scan() && len(out) < 64 {
		owner, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		first, number, ok := strings.Cut(rest, ":")
		start, err1 := strconv.ParseUint(first, 10, 31)
		count, err2 := strconv.ParseUint(number, 10, 31)
		if !ok || err1 != nil || err2 != nil || count == 0 {
			continue
		}
		for _, o := range owners {
			if owner == o {
				out = append(out, idrange{int(start), int(count)})
				break
			}
		}
	}
	return out
}

// apply maps the caller to 0 and its ranges to 1 and up in pid's namespace.
// Where a tool refuses (a host may strip its setuid bit), the caller alone is
// mapped; full reports that all ranges are.
func (m idmaps) apply(pid int) (full bool, err error) {
	proc := "/proc/" + strconv.Itoa(pid)
	uids := runMapper(m.newuidmap, pid, os.Geteuid(), m.uids)
	if uids != nil {
		if err := writeMap(proc+"/uid_map", os.Geteuid()); err != nil {
			return false, errors.Join(err, uids)
		}
	}
	gids := runMapper(m.newgidmap, pid, os.Getegid(), m.gids)
	if gids == nil {
		return uids == nil, nil
	}
	// The kernel wants this promise before an unprivileged gid map.
	if err := os.WriteFile(proc+"/setgroups", []byte("deny"), 0); err != nil {
		return false, fmt.Errorf("map group ids: %w", err)
	}
	if err := writeMap(proc+"/gid_map", os.Getegid()); err != nil {
		return false, errors.Join(err, gids)
	}
	return false, nil
}

func writeMap(path string, self int) error {
	if err := os.WriteFile(path, fmt.Appendf(nil, "0 %d 1\n", self), 0); err != nil {
		return fmt.Errorf("map ids: %w", err)
	}
	return nil
}

func runMapper(tool string, pid, self int, ranges []idrange) error {
	args := []string{strconv.Itoa(pid), "0", strconv.Itoa(self), "1"}
	next := 1
	for _, r := range ranges {
		args = append(args, strconv.Itoa(next), strconv.Itoa(r.start), strconv.Itoa(r.count))
		next += r.count
	}
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("map subordinate ids with %s: %w: %s", tool, err, strings.TrimSpace(string(out)))
	}
	return nil
}
