package supervisor

import (
	"net"

	"github.com/smolvm/smolvm/formats/wire"
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
