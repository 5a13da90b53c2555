package erofs

import "strings"

// Limits of the format: a name's length after its prefix is one byte, a value's
// length two, and the size of an inode's attributes sixteen bits of four bytes.
const (
	maxXattrName  = 255
	maxXattrValue = 1<<16 - 1
	maxXattrs     = 4 * (1<<16 - 2)
)

// The two POSIX ACLs have an index of their own in the format, with nothing
// left of the name. go-erofs knows them with a dot at the end.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// XattrSupported reports whether an image can carry the attribute: EROFS knows
// user, trusted, security and the two POSIX ACLs.
func XattrSupported(name string) bool {
	if name == aclAccess || name == aclDefault {
		return true
	}
	_, rest, _ := strings.Cut(name, ".")
	switch {
	case rest == "" || len(rest) > maxXattrName:
		return false
	default:
		return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.") || strings.HasPrefix(name, "security.")
	}
}

// XattrsFit reports whether one inode can hold all of them.
func XattrsFit(xattrs map[string]string) bool {
	total := 0
	for name, value := range xattrs {
		if len(value) > maxXattrValue {
			return false
		}
		total += 4 + len(name) + len(value) + 3
	}
	return total <= maxXattrs
}

func libraryXattr(name string) string {
	if name == aclAccess || name == aclDefault {
		return name + "."
	}
	return name
}
