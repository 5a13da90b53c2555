package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// phases are the means of what --trace tells, in the order in which a command
// passes them: one line for a warm run, one for an exec.
func (b *bench) phases() ([]line, error) {
	app := b.app("python")
	if err := b.do(app, "true"); err != nil {
		return nil, err
	}
	run, err := b.meanPhases(app, "run")
	if err != nil {
		return nil, err
	}
	if err := b.do(app, "start"); err != nil {
		return nil, err
	}
	defer b.do(app, "stop")
	exec, err := b.meanPhases(app, "exec")
	return []line{run, exec}, err
}

// meanPhases measures one verb.
func (b *bench) meanPhases(app, verb string) (line, error) {
	file := filepath.Join(b.dir, "trace.json")
	sum, order := map[string]float64{}, []string{}
	for range b.rounds {
		if err := b.do(app, verb, "--trace", file, "true"); err != nil {
			return line{}, err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return line{}, err
		}
		var doc struct {
			TraceEvents []struct {
				Name    string
				Ts, Dur float64
			}
		}
		if err := json.Unmarshal(text, &doc); err != nil {
			return line{}, fmt.Errorf("read a trace: %w", err)
		}
		events := doc.TraceEvents
		slices.SortStableFunc(events, func(x, y struct {
			Name    string
			Ts, Dur float64
		}) int {
			return int(x.Ts - y.Ts)
		})
		for _, e := range events {
			if _, known := sum[e.Name]; !known {
				order = append(order, e.Name)
			}
			sum[e.Name] += e.Dur
		}
	}
	l := line{measure: "phases of `my-app " + verb + " true`, means; some lie within others"}
	for i, name := range order {
		if i > 0 {
			l.ours += ", "
		}
		l.ours += fmt.Sprintf("%s %.1f ms", name, sum[name]/1000/float64(b.rounds))
	}
	return l, nil
}
