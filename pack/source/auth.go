package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
)

// keychain looks where Docker and Podman keep credentials, credential helpers
// included. $REGISTRY_AUTH_FILE comes first because somebody set it; then
// Docker's config; then Podman's files, which the library's own keychain looks
// at only where Docker has no config at all.
func keychain() authn.Keychain {
	return authn.NewMultiKeychain(
		podmanFile(os.Getenv("REGISTRY_AUTH_FILE")),
		authn.DefaultKeychain,
		podmanFile(below(os.Getenv("XDG_RUNTIME_DIR"), "containers/auth.json")),
		podmanFile(below(configHome(), "containers/auth.json")),
	)
}

func configHome() string {
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		return dir
	}
	return below(os.Getenv("HOME"), ".config")
}

// below is empty when dir is unknown.
func below(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}

// podmanFile is a containers-auth.json(5) file. Its keys may be a registry, a
// repository, or any namespace in between; the longest match counts.
type podmanFile string

func (p podmanFile) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return p.ResolveContext(context.Background(), r)
}

func (p podmanFile) ResolveContext(_ context.Context, r authn.Resource) (authn.Authenticator, error) {
	if p == "" {
		return authn.Anonymous, nil
	}
	f, err := os.Open(string(p))
	if errors.Is(err, fs.ErrNotExist) {
		return authn.Anonymous, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cf, err := config.LoadFromReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", string(p), err)
	}
	for _, key := range authKeys(r) {
		c, err := cf.GetAuthConfig(key)
		if err != nil {
			return nil, fmt.Errorf("%s: credentials for %s: %w", string(p), key, err)
		}
		c.ServerAddress = "" // filled in even where nothing was found
		if c != (types.AuthConfig{}) {
			return authn.FromConfig(authn.AuthConfig{
				Username: c.Username, Password: c.Password, Auth: c.Auth,
				IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
			}), nil
		}
	}
	return authn.Anonymous, nil
}

// authKeys are the names that may have r's credentials, most specific first.
func authKeys(r authn.Resource) []string {
	var keys []string
	for key := r.String(); key != ""; {
		keys = append(keys, key)
		i := strings.LastIndexByte(key, '/')
		if i < 0 {
			break
		}
		key = key[:i]
	}
	if r.RegistryStr() == "index.docker.io" {
		keys = append(keys, "docker.io", authn.DefaultAuthKey)
	}
	return keys
}
