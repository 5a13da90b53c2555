package flags

import (
	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime/plan"
)

// Limits are the flags that say how large a machine is.
type Limits struct {
	cpus   int
	memory string
	set    *pflag.FlagSet
}

// LimitsOfRun says what counts where a runner's limits are not given.
const LimitsOfRun = "default: the pack's wish, else"

// Register adds the flags to f. otherwise introduces what counts without them.
func (l *Limits) Register(f *pflag.FlagSet, otherwise string) {
	l.set = f
	f.IntVar(&l.cpus, "cpus", 0, "how many CPUs the machine has ("+otherwise+" all)")
	f.StringVarP(&l.memory, "mem", "m", "", "`SIZE` of its memory, like 512M or 2G ("+otherwise+" 2G)")
}

// Set checks the flags and puts those that were given into o.
func (l *Limits) Set(o *plan.Options) (err error) {
	if l.set.Changed("cpus") {
		if err := machine.CheckCPUs(l.cpus); err != nil {
			return usage("--cpus", err)
		}
		o.CPUs = l.cpus
	}
	if l.set.Changed("mem") {
		if o.MemoryMiB, err = machine.ParseMemory(l.memory); err != nil {
			return usage("--mem", err)
		}
	}
	return nil
}
