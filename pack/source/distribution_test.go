package source

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
)

// startDistribution starts Debian's docker-registry with user "user" and
// password "secret", or for everybody, and returns its address.
func startDistribution(t *testing.T, private bool) string {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	auth := ""
	if private {
		hash, err := exec.Command("htpasswd", "-Bbn", "user", "secret").Output()
		if err != nil {
			t.Fatalf("htpasswd (package apache2-utils): %v", err)
		}
		writeFile(t, filepath.Join(dir, "htpasswd"), string(hash), 0o600)
		auth = fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s/htpasswd}}\n", dir)
	}
	writeFile(t, filepath.Join(dir, "config.yml"), fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"+
		"storage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: %s}\n%s", dir, addr, auth), 0o600)
	cmd := exec.CommandContext(t.Context(), "docker-registry", "serve", filepath.Join(dir, "config.yml"))
	// To it, variables named REGISTRY_… are settings; Podman's is one by accident.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "REGISTRY_") })
	var said bytes.Buffer // read only when the process has ended
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatalf("docker-registry (Debian's package): %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	client := http.Client{Timeout: time.Second}
	for deadline := time.Now().Add(20 * time.Second); ; {
		resp, err := client.Get("http://" + addr + "/v2/")
		if err == nil {
			resp.Body.Close()
			return addr
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatalf("docker-registry does not answer: %v\n%s", err, &said)
		}
		<-time.After(20 * time.Millisecond) // there is nothing to wait on in a foreign program
	}
}

// P1, P10: a real registry, filled by skopeo, with and without a login.
func TestDistributionRegistry(t *testing.T) {
	dir := t.TempDir()
	testLayout(t, filepath.Join(dir, "src"), testImage(t, linuxAMD64, compression.GZip, "z", "a"))
	for _, private := range []bool{false, true} {
		t.Run(fmt.Sprintf("private=%v", private), func(t *testing.T) {
			noCredentials(t)
			addr := startDistribution(t, private)
			tool(t, dir, "skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", "--dest-creds=user:secret",
				"oci:src:v1", "docker://"+addr+"/team/img:1")
			opts := Options{Platform: linuxAMD64}
			if private {
				_, err := names(t, addr+"/team/img:1", opts)
				wantError(t, err, "docker login "+addr)
				file := filepath.Join(t.TempDir(), "auth.json")
				writeFile(t, file, `{"auths":{"`+addr+`":{"auth":"dXNlcjpzZWNyZXQ="}}}`, 0o600)
				t.Setenv("REGISTRY_AUTH_FILE", file)
			}
			got, err := names(t, addr+"/team/img:1", opts)
			wantNames(t, got, err, "z", "a")
			_, err = names(t, addr+"/team/img:2", opts)
			wantError(t, err, "is not there")
			_, err = names(t, addr+"/team/other:1", opts)
			wantError(t, err, "is not there")
		})
	}
}
