package boot

import (
	"os"
	"strings"

	"github.com/smolvm/smolvm/formats/wire"
)

// makeTmp creates /tmp in images that have none: programs of all kinds rely on
// it.
func makeTmp(*wire.Boot) error {
	if _, err := os.Lstat("/tmp"); !os.IsNotExist(err) {
		return err
	}
	if err := os.Mkdir("/tmp", 0o777); err != nil {
		return err
	}
	return os.Chmod("/tmp", 0o777|os.ModeSticky)
}

// writeEtc writes the files that belong to the machine, not to the image. They
// are ordinary files of the writable layer, so a command may replace them. A
// link that the image has in their place is replaced, not followed.
func writeEtc(b *wire.Boot) error {
	if err := os.MkdirAll("/etc", 0o755); err != nil {
		return err
	}
	files := []struct{ path, contents string }{
		{"/etc/hosts", hosts(b)},
		{"/etc/resolv.conf", resolvConf(b)},
		{"/etc/hostname", b.Hostname + "\n"},
	}
	for _, f := range files {
		if err := os.RemoveAll(f.path); err != nil {
			return err
		}
		if err := os.WriteFile(f.path, []byte(f.contents), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func hosts(b *wire.Boot) string {
	var s strings.Builder
	s.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	if b.Hostname != "" {
		s.WriteString("127.0.1.1\t" + b.Hostname + "\n")
	}
	for _, h := range b.Hosts {
		s.WriteString(h.Address + "\t" + strings.Join(h.Names, " ") + "\n")
	}
	return s.String()
}

// resolvConf is empty in a machine without name servers, whatever the image
// brings: a query then fails at once.
func resolvConf(b *wire.Boot) string {
	var s strings.Builder
	for _, n := range b.Nameservers {
		s.WriteString("nameserver " + n + "\n")
	}
	return s.String()
}
