package main

import (
	"fmt"
	"slices"
	"time"
)

// sample is the measurements of one thing, in any unit.
type sample []float64

// quantile is the value that the share q of the sample does not exceed.
func (s sample) quantile(q float64) float64 {
	sorted := slices.Sorted(slices.Values(s))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

func (s sample) median() float64 { return s.quantile(0.5) }

// pairs times ours and the other n times, taking turns, so that whatever the
// machine is busy with meets both; who goes first alternates.
func pairs(n int, ours, other func() error) (a, b sample, err error) {
	for i := range n {
		first, second := ours, other
		if i%2 == 1 {
			first, second = other, ours
		}
		x, err := timed(first)
		if err != nil {
			return nil, nil, err
		}
		y, err := timed(second)
		if err != nil {
			return nil, nil, err
		}
		if i%2 == 1 {
			x, y = y, x
		}
		a, b = append(a, x), append(b, y)
	}
	return a, b, nil
}

// timed is how long f takes, in seconds.
func timed(f func() error) (float64, error) {
	start := time.Now()
	err := f()
	return time.Since(start).Seconds(), err
}

// ratios divides pair by pair.
func ratios(a, b sample) sample {
	r := make(sample, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return r
}

// line is one line of the table.
type line struct {
	measure, ours, beside, ratio, goal string
	met                                bool
}

const header = `| measure | ours | beside it | ratio | goal | |
|---|---|---|---|---|---|
`

func (l line) markdown() string {
	verdict := "missed"
	if l.met {
		verdict = "met"
	}
	if l.goal == "" {
		verdict = ""
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", l.measure, l.ours, l.beside, l.ratio, l.goal, verdict)
}

// compare is the line of two interleaved samples of seconds. A goal of 0 only
// reports.
func compare(measure, beside string, a, b sample, goal float64) line {
	r := ratios(a, b)
	l := line{
		measure: measure,
		ours:    span(a),
		beside:  beside + ": " + span(b),
		ratio:   fmt.Sprintf("%.2f (%.2f–%.2f)", r.median(), r.quantile(0.1), r.quantile(0.9)),
	}
	if goal > 0 {
		l.goal = fmt.Sprintf("≤ %.1f", goal)
		l.met = r.median() <= goal
	}
	return l
}

// span is the median of seconds, with the tenth and ninetieth percentile.
func span(s sample) string {
	if s.median() < 1 {
		return fmt.Sprintf("%.1f ms (%.1f–%.1f)", s.median()*1e3, s.quantile(0.1)*1e3, s.quantile(0.9)*1e3)
	}
	return fmt.Sprintf("%.2f s (%.2f–%.2f)", s.median(), s.quantile(0.1), s.quantile(0.9))
}

// bytesLine is the line of a size with an upper limit, in bytes.
func bytesLine(measure string, size, goal int64) line {
	return line{
		measure: measure,
		ours:    megabytes(size),
		goal:    "≤ " + megabytes(goal),
		met:     size <= goal,
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.2f MB", float64(n)/1e6) }
