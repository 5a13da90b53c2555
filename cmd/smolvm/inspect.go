package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name: "inspect", Args: "FILE", Interspersed: true,
		Short: "Tell what is in a pack",
		Long: `FILE is a pack's executable or its sidecar. Only the manifest is read, and with --sbom
the list of the software in the image (SPDX 2.3, as JSON) that was made when it was
packed: packages of dpkg and apk, Go programs, Python and Node packages; not of rpm.`,
		Examples: []string{
			"smolvm inspect ./my-app",
			"smolvm inspect --sbom ./my-app | jq -r '.packages[].name'",
			"smolvm inspect --json ./my-app.smolmachine | jq .manifest.image.config",
		},
		New: func(flags *pflag.FlagSet) cli.RunFunc {
			asJSON := flags.Bool("json", false, "print JSON")
			software := flags.Bool("sbom", false, "print the list of the software in the image instead")
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				p, err := openPack("inspect", args)
				if err != nil {
					return err
				}
				defer p.Close()
				if *software {
					return printSBOM(ctx, stdio.Out, p)
				}
				if *asJSON {
					return cli.PrintJSON(stdio.Out, inspection{p.path, p.Digest(), signers(p), p.manifest})
				}
				return describe(stdio.Out, p)
			}
		},
	}
}

// printSBOM prints it only if it is JSON: a hostile pack's could be anything,
// and this goes to a terminal.
func printSBOM(ctx context.Context, out io.Writer, p *opened) error {
	text, err := pack.SBOM(ctx, p.Reader)
	if err != nil {
		return err
	}
	if !json.Valid([]byte(text)) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
		return fmt.Errorf("%s: the list of software is not JSON: the pack is damaged, or not made by smolvm", p.path)
	}
	_, err = io.WriteString(out, text)
	return err
}

// inspection is inspect's JSON.
type inspection struct {
	File     string             `json:"file"`
	Digest   string             `json:"digest"`
	Signed   []signed           `json:"signatures"`
	Manifest *manifest.Manifest `json:"manifest"`
}

// signed is one signature: whose it is and whether it is one of this pack.
type signed struct {
	Key         string `json:"key,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Error       string `json:"error,omitempty"`
}

// signers tells who signed the pack. Signatures that are not sound are told,
// too: whoever inspects wants to see them, not to be stopped by them.
func signers(p *opened) []signed {
	all, err := p.Signatures(p.path)
	if err != nil {
		return []signed{{Error: err.Error()}}
	}
	list := []signed{}
	for _, s := range all {
		list = append(list, signed{Key: s.Key.String(), Fingerprint: s.Key.Fingerprint()})
	}
	return list
}

// describe prints what a person wants to know, leaving out what is not set.
func describe(out io.Writer, p *opened) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	m := p.manifest
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, printable(value))
		}
	}
	line("file", p.path)
	line("digest", p.Digest())
	for _, s := range signers(p) {
		line("signed by", s.Fingerprint)
		line("bad signature", s.Error)
	}
	line("platform", strings.TrimSuffix(m.Platform.OS+"/"+m.Platform.Architecture+"/"+m.Platform.Variant, "/"))
	line("created", m.Created)
	line("image", m.Image.Reference)
	line("image digest", m.Image.Digest)
	line("config digest", m.Image.ConfigDigest)
	for _, layer := range m.Image.DiffIDs {
		line("layer", layer)
	}
	describeRun(line, m)
	for _, part := range m.Parts {
		line("part", strings.TrimSpace(part.Name+" "+part.Version+" "+part.License))
	}
	fmt.Fprintln(w, "\nsection\tsize\tstored\tsha256")
	for _, s := range m.Sections {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.12s\n", s.String(), humanSize(s.Size), humanSize(s.StoredSize), s.SHA256)
	}
	return w.Flush()
}

// describeRun prints how the pack runs: what the packer said where the packer
// said something, the image's config otherwise.
func describeRun(line func(name, value string), m *manifest.Manifest) {
	d, c := m.Defaults, m.Image.Config
	entrypoint := c.Entrypoint
	if d.Entrypoint != nil {
		entrypoint = *d.Entrypoint
	}
	line("entrypoint", quoteAll(entrypoint))
	line("command", quoteAll(c.Cmd))
	line("environment", quoteAll(slices.Concat(c.Env, d.Env)))
	line("directory", or(d.WorkingDir, c.WorkingDir))
	line("user", or(d.User, c.User))
	line("stop signal", c.StopSignal)
	line("ports", strings.Join(slices.Sorted(maps.Keys(c.ExposedPorts)), " "))
	if d.CPUs > 0 {
		line("cpus", fmt.Sprint(d.CPUs))
	}
	if d.MemoryMiB > 0 {
		line("memory", humanSize(d.MemoryMiB<<20))
	}
	if d.StorageMiB > 0 {
		line("storage", humanSize(d.StorageMiB<<20))
	}
	line("isolation", or(m.Policy.Isolation, "auto"))
	network := "the runner's choice"
	if m.Policy.Network != nil {
		policy := machine.Network(*m.Policy.Network)
		network = policy.String()
	}
	line("network", network)
	labels := maps.Clone(c.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, d.Labels)
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		line("label", fmt.Sprintf("%q=%q", key, labels[key]))
	}
}

// printable keeps what an image says from reaching the terminal as control
// characters.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// quoteAll shows where words begin and end.
func quoteAll(words []string) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, fmt.Sprintf("%q", w))
	}
	return strings.Join(quoted, " ")
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
