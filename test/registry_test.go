package test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// The registries are Debian's docker-registry on free ports of 127.0.0.1: one
// for everyone, one for user "user" with password "secret". Both hold the
// image "busybox"; skopeo brings it there.
var registriesOnce struct {
	sync.Once
	open, private string
	started       []*exec.Cmd
}

func registries(t testing.TB) (open, private string) {
	t.Helper()
	registriesOnce.Do(func() {
		registriesOnce.open = startRegistry(t, "open", "")
		passwords, err := exec.Command("htpasswd", "-Bbn", "user", "secret").Output()
		if err != nil {
			t.Fatalf("htpasswd: %v", err)
		}
		file := filepath.Join(root, "htpasswd")
		if err := os.WriteFile(file, passwords, 0o600); err != nil {
			t.Fatal(err)
		}
		registriesOnce.private = startRegistry(t, "private", "auth: {htpasswd: {realm: test, path: "+file+"}}\n")
	})
	if registriesOnce.private == "" {
		t.Fatal("the registries did not start; see the first test that needed them")
	}
	return registriesOnce.open, registriesOnce.private
}

// startRegistry starts one, fills it and returns its address.
func startRegistry(t testing.TB, name, auth string) string {
	t.Helper()
	address := freeAddress(t)
	dir := filepath.Join(root, "registry-"+name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"+
		"storage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n%s", dir, address, auth)
	file := filepath.Join(root, name+".yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	registriesOnce.started = append(registriesOnce.started, cmd)
	eventually(t, "the registry's first answer", func() bool {
		resp, err := http.Get("http://" + address + "/v2/")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	for _, tag := range []string{"latest", "1.2"} {
		out, err := exec.Command("skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "--dest-creds=user:secret",
			"oci:"+images+"/busybox:latest", "docker://"+address+"/busybox:"+tag).CombinedOutput()
		if err != nil {
			t.Fatalf("skopeo copy: %v\n%s", err, out)
		}
	}
	return address
}

// freeAddress is an address of the loopback interface that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func stopRegistries() {
	for _, cmd := range registriesOnce.started {
		cmd.Process.Kill()
		cmd.Wait()
	}
}
