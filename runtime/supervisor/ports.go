package supervisor

import (
	"fmt"
	"net"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/network"
	"github.com/smolvm/smolvm/runtime/ports"
)

// listen publishes what the machine was started with. Clients that connect
// before it is ready wait.
func (k *keeper) listen() error {
	k.ports = ports.New(k.log)
	var want []wire.Port
	for _, p := range k.order.Config.Ports {
		want = append(want, wire.Port(p))
	}
	_, err := k.ports.Listen(want)
	return err
}

// connect starts the machine's network, if it is to have one.
func (k *keeper) connect() (*runtime.Link, error) {
	if !k.order.Config.Network.Enabled {
		return nil, nil
	}
	p, err := network.Start(k.order.Config.Parts[manifest.KindNetwork], k.order.Config.Network, k.engine.Framing(), k.notices.in)
	if err != nil {
		return nil, err
	}
	k.network = p
	// The network ends when the machine closes its end of the link.
	go func() {
		if err := p.Wait(); err != nil {
			fmt.Fprintf(k.log, "smolvm: the machine's network ended: %v\n", err)
		}
	}()
	return &p.Link, nil
}

// open opens a stream to the agent, for a connection to a published port.
func (k *keeper) open() (net.Conn, error) { return k.session.OpenStream() }

// publish publishes ports of the running machine; the answer has their numbers.
func (k *keeper) publish(conn *net.UnixConn, p *wire.Publish) {
	published, err := k.ports.Listen(p.Ports)
	if err != nil {
		k.refuse(conn, err.Error())
		return
	}
	k.reply(conn, &wire.Reply{Status: &wire.Status{Ports: published}})
}
