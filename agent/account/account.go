// Package account resolves who a command runs as from the image's own
// /etc/passwd and /etc/group, as docker does. It runs inside the image's root
// (the agent has pivoted there), so no path can lead out of it.
package account

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// User is a resolved "name|uid[:group|gid]".
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary
	Home     string
}

// Resolve looks spec up in the files of the root file system. An empty spec is
// root. Numeric ids need no entry; a group in spec replaces the supplementary
// groups.
func Resolve(spec string) (*User, error) {
	return resolve(spec, passwdFile.read(), groupFile.read())
}

func resolve(spec string, passwd, group []byte) (*User, error) {
	name, groupName, hasGroup := strings.Cut(spec, ":")
	if name == "" {
		name = "0"
	}
	u := &User{Home: "/"}
	entry, err := u.find(name, passwd)
	if err != nil {
		return nil, err
	}
	if hasGroup && groupName != "" {
		return u, u.setGroup(groupName, group)
	}
	for _, g := range entries(group, 4) {
		if gid, ok := id(g[2]); ok && entry != "" && slices.Contains(strings.Split(g[3], ","), entry) {
			u.Groups = append(u.Groups, gid)
		}
	}
	return u, nil
}

// find fills in what passwd says about name, and returns the entry's own name
// if there is one.
func (u *User) find(name string, passwd []byte) (string, error) {
	wanted, numeric := id(name)
	for _, p := range entries(passwd, 6) {
		uid, ok := id(p[2])
		gid, ok2 := id(p[3])
		if !ok || !ok2 || (p[0] != name && (!numeric || uid != wanted)) {
			continue
		}
		u.UID, u.GID = uid, gid
		if p[5] != "" {
			u.Home = p[5]
		}
		return p[0], nil
	}
	if !numeric {
		return "", fmt.Errorf("no user %q in the image's /etc/passwd: name one that is there, or use a numeric id", name)
	}
	u.UID = wanted
	return "", nil
}

func (u *User) setGroup(name string, group []byte) error {
	wanted, numeric := id(name)
	for _, g := range entries(group, 3) {
		if gid, ok := id(g[2]); ok && (g[0] == name || (numeric && gid == wanted)) {
			u.GID = gid
			return nil
		}
	}
	if !numeric {
		return fmt.Errorf("no group %q in the image's /etc/group: name one that is there, or use a numeric id", name)
	}
	u.GID = wanted
	return nil
}

// May says whether the mode bits let the user execute (for a directory:
// enter) the file.
func (u *User) May(st *unix.Stat_t) bool {
	switch {
	case u.UID == 0:
		return st.Mode&0o111 != 0 || st.Mode&unix.S_IFMT == unix.S_IFDIR
	case u.UID == st.Uid:
		return st.Mode&0o100 != 0
	case u.GID == st.Gid || slices.Contains(u.Groups, st.Gid):
		return st.Mode&0o010 != 0
	}
	return st.Mode&0o001 != 0
}

// id parses a uid or gid. The largest value means "none" to the kernel.
func id(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n < 1<<32-1
}

// entries splits a colon-separated file into lines of at least n fields;
// others are skipped, as libc does.
func entries(file []byte, n int) [][]string {
	var out [][]string
	lines := bufio.NewScanner(bytes.NewReader(file))
	lines.Buffer(nil, maxFile+1)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if fields := strings.Split(line, ":"); len(fields) >= n {
			out = append(out, fields)
		}
	}
	return out
}
