package machines

import (
	"context"
	"errors"
	"io"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/runtime/launch"
)

// CopyLayer writes what the machine in req.Keep has kept over its image to out,
// as a layer of an OCI image. The machine is started for that, with nothing but
// its layer, and has ended when CopyLayer returns; the caller closes it, and has
// the parts that it was made of until then. A *wire.Error of the code
// wire.CodeLeftOut comes with a machine: the layer is complete but for files
// that no layer can have.
func CopyLayer(ctx context.Context, s Source, req launch.Request, out io.Writer, stdio cli.Stdio) (*launch.Machine, error) {
	ctx, stop := interruptible(ctx)
	defer stop()
	m, err := prepare(ctx, s, req, stdio)
	if err != nil {
		return nil, err
	}
	m.Config.LayerOnly = true
	keeper, err := m.Ephemeral(nil)
	if err != nil {
		m.Close()
		return nil, err
	}
	err = client.CopyOut(ctx, keeper.Conn, wire.Copy{Path: []byte("/"), Layer: true}, func(r io.Reader) error {
		_, err := io.Copy(out, r)
		return err
	})
	if lost(err) {
		err = keeper.Reason()
	}
	_ = keeper.Wait()
	if left := (*wire.Error)(nil); err == nil || errors.As(err, &left) && left.Code == wire.CodeLeftOut {
		return m, err
	}
	m.Close()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, err
}
