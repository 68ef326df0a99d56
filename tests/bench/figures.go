package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// sample is a set of durations of one kind.
type sample []time.Duration

// at is a percentile by nearest rank: the smallest duration that so large a
// share of the sample does not exceed. The 99th of a hundred or fewer is the slowest.
func (s sample) at(share float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(math.Ceil(share * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func (s sample) median() time.Duration { return s.at(0.5) }

// p50 and p99 are cells; an empty sample has no figure.
func (s sample) p50() string { return s.cell(0.5) }
func (s sample) p99() string { return s.cell(0.99) }

func (s sample) cell(share float64) string {
	if len(s) == 0 {
		return ""
	}
	return figure(s.at(share))
}

// figure words a duration with two or three digits that mean something.
func figure(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case d == 0:
		return "at once"
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}
