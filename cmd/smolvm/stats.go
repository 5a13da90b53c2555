package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/cmd/internal/table"
	"github.com/smolvm/smolvm/runtime/named"
	"github.com/smolvm/smolvm/runtime/usage"
)

// statsInterval is over how long the use of CPUs is measured, and how often it
// is shown.
const statsInterval = time.Second

// statsRow is a machine in stats; its fields are what --format may name.
type statsRow struct {
	Name string `json:"name"`
	// CPU is in hundredths of one CPU, over the last second.
	CPU       float64 `json:"cpuPercent"`
	Memory    int64   `json:"memoryBytes"` // of all its processes on the host
	MemoryMiB int64   `json:"memoryLimitMiB"`
	Processes int     `json:"processes"` // on the host
	Execs     int     `json:"execs"`
}

func statsCommand() *cli.Command {
	return &cli.Command{
		Name: "stats", Args: "[NAME...]", Short: "Show what CPU and memory machines take from the host", Interspersed: true,
		Long:     "Without a name it is all machines that run.",
		Examples: []string{"smolvm microvm stats", "smolvm microvm stats --follow web"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o table.Options
			o.Register(f)
			follow := f.Bool("follow", false, "show it again every second, until interrupted")
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				before, err := measure(ctx, args, stdio)
				for err == nil {
					select {
					case <-ctx.Done():
						return nil
					case <-time.After(statsInterval):
					}
					var now map[string]measured
					if now, err = measure(ctx, args, stdio); err != nil {
						break
					}
					if err = printStats(stdio, o, before, now); err == nil && !*follow {
						return nil
					}
					before = now
				}
				return err
			}
		},
	}
}

// measured is one machine at one time.
type measured struct {
	row  machineRow
	used usage.Usage
	at   time.Time
}

// measure measures the machines that run, of those that names say, or of all.
func measure(ctx context.Context, names []string, stdio cli.Stdio) (map[string]measured, error) {
	var rows []machineRow
	var err error
	if len(names) == 0 {
		rows, err = askAll(ctx, stdio)
	} else {
		rows, err = askSome(ctx, names)
	}
	if err != nil {
		return nil, err
	}
	all := map[string]measured{}
	for _, r := range rows {
		if r.Status == nil {
			continue
		}
		// One that ended meanwhile is not in the list.
		if used, err := usage.Of(r.Status.PID); err == nil {
			all[r.Name] = measured{r, used, time.Now()}
		}
	}
	return all, nil
}

func askSome(ctx context.Context, names []string) ([]machineRow, error) {
	states, err := machines.States()
	if err != nil {
		return nil, err
	}
	var rows []machineRow
	for _, name := range names {
		d, err := named.Read(states, name)
		if err != nil {
			return nil, err
		}
		r := askMachine(ctx, states, d)
		if r.Problem != "" {
			return nil, fmt.Errorf("the machine %s: %s", name, r.Problem)
		}
		if r.Status == nil {
			return nil, fmt.Errorf("the machine %s is not running; start it with: %s start %[1]s", name, microvmProgram)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func printStats(stdio cli.Stdio, o table.Options, before, now map[string]measured) error {
	rows := []statsRow{}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		m := now[name]
		r := statsRow{Name: name, Memory: m.used.Memory, MemoryMiB: m.row.Status.MemoryMiB, Processes: m.used.Processes, Execs: m.row.Status.Execs}
		if b, ok := before[name]; ok && b.row.Status.PID == m.row.Status.PID {
			r.CPU = max(0, 100*float64(m.used.CPU-b.used.CPU)/float64(m.at.Sub(b.at)))
		}
		rows = append(rows, r)
	}
	return table.Print(stdio.Out, o, rows, func(r statsRow) string { return r.Name }, []table.Column[statsRow]{
		{Title: "NAME", Cell: func(r statsRow) string { return r.Name }},
		{Title: "CPU", Cell: func(r statsRow) string { return fmt.Sprintf("%.1f %%", r.CPU) }},
		{Title: "MEMORY", Cell: func(r statsRow) string { return humanSize(r.Memory) + " of " + humanSize(r.MemoryMiB<<20) }},
		{Title: "PROCESSES", Cell: func(r statsRow) string { return fmt.Sprint(r.Processes) }},
		{Title: "COMMANDS", Cell: func(r statsRow) string { return fmt.Sprint(r.Execs) }},
	})
}
