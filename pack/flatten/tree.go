package flatten

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/smolvm/smolvm/pack/erofs"
)

// Linux follows at most 40 symbolic links in one path, and no path is longer
// than 4096 bytes; so no container could reach what lies deeper.
const (
	maxLinks = 40
	maxPath  = 4096
	maxDepth = maxPath / 2
)

// tree is the image's file system while layers are applied to it.
type tree struct {
	root  *erofs.Inode
	layer int32              // the layer being applied
	free  func(erofs.Extent) // told of contents that lost their last name
	epoch time.Time          // of directories that no layer describes
	last  struct {           // the latest parent that was looked up
		name string
		dir  *erofs.Inode
	}
}

func newTree(free func(erofs.Extent)) *tree {
	return &tree{root: erofs.NewDir(0o755), free: free, epoch: time.Unix(0, 0)}
}

// parent returns the directory that holds name, a cleaned absolute path other
// than "/", and the name's last component. It makes missing parents if create is
// set; otherwise a nil directory says that there is none.
func (t *tree) parent(name string, create bool) (*erofs.Inode, string, error) {
	dir, base := path.Split(name)
	if len(base) > erofs.MaxName {
		return nil, "", fmt.Errorf("the name is longer than %d bytes", erofs.MaxName)
	}
	if len(name) > maxPath {
		return nil, "", fmt.Errorf("the path is longer than %d bytes", maxPath)
	}
	if t.last.dir != nil && t.last.name == dir {
		return t.last.dir, base, nil
	}
	d, err := t.walk(dir, create)
	if err == nil && d != nil {
		t.last.name, t.last.dir = dir, d
	}
	return d, base, err
}

// walk finds the directory called name, following symbolic links as if the
// tree's root were the file system's.
func (t *tree) walk(name string, create bool) (*erofs.Inode, error) {
	at := []*erofs.Inode{t.root} // the root and the directories down to where we are
	todo := strings.Split(name, "/")
	for links := 0; len(todo) > 0; {
		c := todo[0]
		todo = todo[1:]
		switch c {
		case "", ".":
			continue
		case "..":
			at = at[:max(1, len(at)-1)]
			continue
		}
		next, err := t.child(at[len(at)-1], c, create)
		if next == nil {
			return nil, err
		}
		if next.IsDir() {
			if at = append(at, next); len(at) > maxDepth {
				return nil, fmt.Errorf("directories are nested more than %d deep", maxDepth)
			}
			continue
		}
		if next.Mode&erofs.TypeMask != erofs.TypeSymlink {
			return nil, fmt.Errorf("its parent %s is not a directory", shown(c))
		}
		if links++; links > maxLinks {
			return nil, errors.New("too many symbolic links among its parents")
		}
		if strings.HasPrefix(next.Target, "/") {
			at = at[:1]
		}
		todo = append(strings.Split(next.Target, "/"), todo...)
	}
	return at[len(at)-1], nil
}

// child returns dir's entry of that name, made as a directory if need be.
func (t *tree) child(dir *erofs.Inode, name string, create bool) (*erofs.Inode, error) {
	if e, ok := dir.Children[name]; ok {
		return e.Inode, nil
	}
	if !create {
		return nil, nil
	}
	if len(name) > erofs.MaxName {
		return nil, fmt.Errorf("a parent's name is longer than %d bytes", erofs.MaxName)
	}
	d := erofs.NewDir(0o755)
	dir.Children[name] = erofs.Entry{Inode: d, Origin: t.layer}
	return d, nil
}

// put gives i the name base in dir, in place of what had it.
func (t *tree) put(dir *erofs.Inode, base string, i *erofs.Inode) {
	if old, ok := dir.Children[base]; ok {
		if old.Inode.IsDir() && i.IsDir() {
			i.Children = old.Inode.Children
			*old.Inode = *i
			i = old.Inode
		} else if old.Inode != i {
			t.remove(dir, base)
		}
	}
	dir.Children[base] = erofs.Entry{Inode: i, Origin: t.layer}
}

// link gives i, which is in the tree already, one more name.
func (t *tree) link(dir *erofs.Inode, base string, i *erofs.Inode) {
	if old, ok := dir.Children[base]; !ok || old.Inode != i {
		i.Links++
	}
	t.put(dir, base, i)
}

// remove takes a name away, and all that is below it.
func (t *tree) remove(dir *erofs.Inode, base string) {
	i := dir.Children[base].Inode
	delete(dir.Children, base)
	if i.IsDir() {
		t.last.dir = nil
		for name := range i.Children {
			t.remove(i, name)
		}
		return
	}
	if i.Mode&erofs.TypeMask == erofs.TypeSymlink {
		t.last.dir = nil
	}
	if i.Links--; i.Links == 0 {
		t.free(i.Content)
	}
}

// whiteout hides what lower layers know as base in dir. What this layer put
// there, or below it, stays.
func (t *tree) whiteout(dir *erofs.Inode, base string) {
	e, ok := dir.Children[base]
	if !ok {
		return
	}
	if e.Inode.IsDir() {
		t.opaque(e.Inode)
		if e.Origin == t.layer {
			return
		}
		if len(e.Inode.Children) > 0 {
			// The directory itself is hidden, but this layer has put something
			// into it without describing it: a missing parent, then.
			fresh := erofs.NewDir(0o755)
			fresh.Children = e.Inode.Children
			*e.Inode = *fresh
			dir.Children[base] = erofs.Entry{Inode: e.Inode, Origin: t.layer}
			return
		}
	}
	if e.Origin != t.layer {
		t.remove(dir, base)
	}
}

// opaque hides all that lower layers put into dir.
func (t *tree) opaque(dir *erofs.Inode) {
	for name := range dir.Children {
		t.whiteout(dir, name)
	}
}
