package daemon

import (
	"context"
	"errors"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/runtime/state"
)

// Containers has the machine's supervisor do as req says, and returns the
// containers that have been started since the machine was; ErrStopped if it does
// not run.
func Containers(ctx context.Context, states *state.Dir, id string, req wire.Containers) ([]wire.Container, error) {
	conn, err := Connect(ctx, states, id)
	if err != nil {
		return nil, err
	}
	reply, err := client.Ask(ctx, conn, &wire.Header{Op: wire.OpContainers, Containers: &req})
	if errors.Is(err, client.ErrLost) {
		return nil, ErrStopped
	}
	if err != nil {
		return nil, err
	}
	return reply.Containers, nil
}
