package machines

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/supervisor"
)

// Port lists and publishes ports.
func (v *Verbs) Port() *cli.Command {
	return &cli.Command{
		Name: "port", Args: v.nameArg("") + "[[IP:]HOST:GUEST[/udp]...]", Short: "List the published ports of the machine that was started, or publish more",
		Long: `IP is 127.0.0.1 if absent, and HOST 0 takes any free port. Ports stay published until the
machine is stopped.`,
		Examples: []string{v.Program + " port", v.Program + " port 9000:9000 0.0.0.0:5353:53/udp"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var name flags.Name
			var asJSON flags.JSON
			name.Register(f)
			asJSON.Register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				ports, err := v.publish(ctx, &name, args)
				if err != nil {
					return err
				}
				if asJSON.On {
					return cli.PrintJSON(stdio.Out, ports)
				}
				for _, p := range ports {
					fmt.Fprintln(stdio.Out, published(p))
				}
				return nil
			}
		},
	}
}

// publish publishes what specs say and returns that; without specs it returns
// everything that is published.
func (v *Verbs) publish(ctx context.Context, name *flags.Name, specs []string) ([]wire.Port, error) {
	var before []string
	if v.Positional && len(specs) > 0 && !strings.Contains(specs[0], ":") {
		before, specs = specs[:1], specs[1:]
	}
	ports, err := flags.Ports("", specs)
	if err != nil {
		return nil, err
	}
	r, _, err := v.locate(name, before)
	if err != nil {
		return nil, err
	}
	conn, err := daemon.Connect(ctx, r.states, r.id)
	if err != nil {
		return nil, v.stopped(err, r)
	}
	h := &wire.Header{Op: wire.OpStatus}
	if len(ports) > 0 {
		h = &wire.Header{Op: wire.OpPublish, Publish: &wire.Publish{}}
		for _, p := range ports {
			h.Publish.Ports = append(h.Publish.Ports, wire.Port(p))
		}
	}
	reply, err := client.Ask(ctx, conn, h)
	if err != nil {
		return nil, err
	}
	out := []wire.Port{} // not null in JSON
	if reply.Status != nil {
		out = append(out, reply.Status.Ports...)
	}
	return out, nil
}

// published is how docker's port command shows a port.
func published(p wire.Port) string {
	return fmt.Sprintf("%d/%s -> %s", p.Guest, p.Network, net.JoinHostPort(p.Address, strconv.Itoa(int(p.Host))))
}

// tellPicked says which ports of the host a run got where it was to take any.
// A run that publishes waits for its machine, so that a taken port is what its
// user hears about.
func tellPicked(ctx context.Context, p *supervisor.Process, asked []machine.Port, out io.Writer) error {
	if len(asked) == 0 {
		return nil
	}
	status, err := p.Ready(ctx)
	if err != nil {
		return err
	}
	for i, port := range status.Ports {
		if i < len(asked) && asked[i].Host == 0 {
			fmt.Fprintf(out, "smolvm: published %s\n", published(port))
		}
	}
	return nil
}
