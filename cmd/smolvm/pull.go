package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack/images"
	"github.com/smolvm/smolvm/pack/rootfs"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/runtime/launch"
	"github.com/smolvm/smolvm/sidecar"
)

// pullFlags say how an image is fetched.
type pullFlags struct {
	policy, platform string
	tlsVerify, quiet bool
}

func (o *pullFlags) register(f *pflag.FlagSet) {
	f.StringVar(&o.policy, "pull", string(images.PullMissing), "`WHEN` to ask where the image comes from: missing (here), always or never")
	o.registerSource(f)
}

// registerSource registers what is said where the image is always fetched.
func (o *pullFlags) registerSource(f *pflag.FlagSet) {
	f.StringVar(&o.platform, "platform", "", "`OS/ARCH` to take from an image for several (default: this machine's)")
	f.BoolVar(&o.tlsVerify, "tls-verify", true, "insist on HTTPS and a trusted certificate")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not show how far the pull is")
}

func (o *pullFlags) options() (images.Options, error) {
	opts := images.Options{Policy: images.Policy(o.policy)}
	switch opts.Policy {
	case images.PullMissing, images.PullAlways, images.PullNever:
	default:
		return opts, exit.Usagef("--pull %q is none of missing, always, never", o.policy)
	}
	opts.Source.Insecure = !o.tlsVerify
	opts.Source.Platform = source.DefaultPlatform()
	if o.platform != "" {
		p, err := source.ParsePlatform(o.platform)
		if err != nil {
			return opts, exit.Usagef("--platform: %w", err)
		}
		opts.Source.Platform = p
	}
	return opts, nil
}

// openImages opens the images of this user.
func openImages() (*images.Store, error) {
	dir, err := sidecar.DefaultCacheDir()
	if err != nil {
		return nil, err
	}
	return images.Open(dir)
}

// getImage gets an image and its root file system, with progress bars on a
// terminal. The caller closes the latter.
func getImage(ctx context.Context, name string, opts images.Options, quiet bool, stdio cli.Stdio) (*images.Image, *rootfs.Entry, error) {
	store, err := openImages()
	if err != nil {
		return nil, nil, err
	}
	defer store.Close()
	bars := newBars(stdio.Err, quiet)
	defer bars.close()
	opts.Progress = bars
	opts.Note = func(s string) { bars.say("note: " + s) }
	img, root, err := store.Get(ctx, name, opts)
	if err != nil && ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	return img, root, err
}

// openImage makes an image ready to be launched with the parts beside smolvm.
func openImage(ctx context.Context, name string, opts images.Options, quiet bool, stdio cli.Stdio) (*launch.Pack, error) {
	img, root, err := getImage(ctx, name, opts, quiet, stdio)
	if err != nil {
		return nil, err
	}
	return withParts(img.Manifest(), root)
}

// withParts takes over root.
func withParts(m *manifest.Manifest, root *rootfs.Entry) (*launch.Pack, error) {
	path, err := partsPath()
	if err != nil {
		root.Close()
		return nil, err
	}
	parts, err := sidecar.Open(path)
	if err != nil {
		root.Close()
		return nil, err
	}
	return launch.FromImage(m, root.Reader, parts)
}
