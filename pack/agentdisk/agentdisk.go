// Package agentdisk writes the disk that every guest boots from, the same under
// both engines: a read-only EROFS image with the agent, the tools it needs, and
// the empty directories that it mounts on. The user's command never sees it.
//
// The binaries come from whoever builds the parts; nothing of the user's image
// enters here.
package agentdisk

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/smolvm/smolvm/pack/erofs"
)

// Agent is the path of the guest's first process, without the leading slash.
const Agent = "agent"

// dirs are the mount points that the agent relies on.
var dirs = []string{"dev", "proc", "sys", "tmp", "image", "images", "upper", "rootfs", "volumes", "run"}

// File is one file of the disk.
type File struct {
	Content io.Reader
	Size    int64 // bytes to be read of Content
	Perm    os.FileMode
}

// Write writes the disk to dst, which must be empty and stays the caller's; it
// is not synced. The keys of files are clean relative paths; their parents are
// made. All is owned by root and dated 1970: the same files give the same bytes.
func Write(dst *os.File, files map[string]File) error {
	if _, ok := files[Agent]; !ok {
		return errors.New("an agent disk needs the agent")
	}
	image, root := erofs.NewBuilder(dst), erofs.NewDir(0o755)
	for _, name := range dirs {
		perm := uint16(0o755)
		if name == "tmp" {
			perm = 0o1777
		}
		root.Children[name] = erofs.Entry{Inode: erofs.NewDir(perm)}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := add(image, root, name, files[name]); err != nil {
			return fmt.Errorf("agent disk: %s: %w", name, err)
		}
	}
	return image.Finish(root, time.Unix(0, 0))
}

func add(image *erofs.Builder, root *erofs.Inode, name string, f File) error {
	if name != path.Clean(name) || path.IsAbs(name) || strings.HasPrefix(name, "..") || name == "." {
		return errors.New("not a clean relative path")
	}
	parent := root
	parts := strings.Split(name, "/")
	for _, part := range parts[:len(parts)-1] {
		e, ok := parent.Children[part]
		if !ok {
			e = erofs.Entry{Inode: erofs.NewDir(0o755)}
			parent.Children[part] = e
		}
		if !e.Inode.IsDir() {
			return fmt.Errorf("%s is a file", part)
		}
		parent = e.Inode
	}
	base := parts[len(parts)-1]
	if _, taken := parent.Children[base]; taken {
		return errors.New("there is a directory of that name")
	}
	content, err := image.Add(f.Content, f.Size)
	if err != nil {
		return err
	}
	parent.Children[base] = erofs.Entry{Inode: &erofs.Inode{
		Mode: erofs.TypeRegular | uint16(f.Perm.Perm()), Links: 1, Mtime: time.Unix(0, 0), Content: content,
	}}
	return nil
}
