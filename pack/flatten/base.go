package flatten

import (
	"fmt"
	"io"

	"github.com/smolvm/smolvm/pack/erofs"
)

// base puts what is in an image that Write has written below all layers.
func (m *merge) base(image io.ReaderAt) error {
	placed := map[*erofs.Inode]bool{}
	err := erofs.Read(image, func(name string, i *erofs.Inode, content *io.SectionReader) error {
		if err := m.count(len(name) + len(i.Target)); err != nil {
			return err
		}
		if name == "/" {
			return m.rootEntry(i)
		}
		dir, base, err := m.tree.parent(name, true)
		if err != nil {
			return fmt.Errorf("%s: %w", shown(name), err)
		}
		if placed[i] {
			m.tree.link(dir, base, i)
			return nil
		}
		placed[i], i.Links = true, 1
		if i.Content, err = m.content(content, content.Size()); err != nil {
			return fmt.Errorf("%s: %w", shown(name), err)
		}
		m.tree.put(dir, base, i)
		return nil
	})
	if err != nil {
		return fmt.Errorf("the image below the layers: %w", err)
	}
	return nil
}
