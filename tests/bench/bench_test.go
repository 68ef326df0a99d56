package main

import (
	"errors"
	"net/url"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestPercentiles(t *testing.T) {
	hundred := make(sample, 100)
	for i := range hundred {
		hundred[99-i] = time.Duration(i+1) * ms
	}
	for _, c := range []struct {
		of    sample
		share float64
		want  time.Duration
	}{
		{nil, 0.5, 0}, {sample{7 * ms}, 0.01, 7 * ms}, {sample{7 * ms}, 1, 7 * ms}, {sample{3 * ms, 1 * ms, 2 * ms}, 0.5, 2 * ms},
		{sample{2 * ms, 1 * ms}, 0.5, 1 * ms}, {hundred, 0.5, 50 * ms}, {hundred, 0.99, 99 * ms}, {hundred, 1, 100 * ms},
		{hundred[:40], 0.99, 100 * ms},
	} {
		if got := c.of.at(c.share); got != c.want {
			t.Errorf("the share %v of %d: %s, not %s", c.share, len(c.of), got, c.want)
		}
	}
	if hundred[0] != 100*ms {
		t.Error("a percentile has sorted the sample, whose durations belong to others by their place")
	}
}

func TestFigures(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"at once": 0, "0.38 ms": 380 * time.Microsecond, "9.99 ms": 9990 * time.Microsecond, "41 ms": 41 * ms, "1.9 s": 1940 * ms,
	} {
		if got := figure(d); got != want {
			t.Errorf("%s is worded %q, not %q", d, got, want)
		}
	}
}

// TestTally looks at what users are said to have seen of a fault at 0.
func TestTally(t *testing.T) {
	type asked struct {
		began, took time.Duration
		problem     string
	}
	const window = 4 * time.Second
	for name, c := range map[string]struct {
		answers []asked
		want    tally
	}{
		"nobody noticed":                     {[]asked{{-9 * ms, 2 * ms, ""}, {-1 * ms, 2 * ms, ""}, {5 * ms, 2 * ms, ""}}, tally{asked: 2}},
		"what ended before does not count":   {[]asked{{-9 * ms, 2 * ms, "HTTP 502"}, {5 * ms, 2 * ms, ""}}, tally{asked: 1}},
		"one was lost inside":                {[]asked{{-1 * ms, 2 * ms, "EOF"}, {5 * ms, 2 * ms, ""}}, tally{asked: 2, failed: 1, inside: 1}},
		"some failed":                        {[]asked{{10 * ms, 2 * ms, "EOF"}, {300 * ms, clientPatience, "no"}, {310 * ms, ms, ""}}, tally{asked: 3, failed: 2, again: 300 * ms}},
		"a slow answer counts when it comes": {[]asked{{10 * ms, 900 * ms, ""}, {310 * ms, ms, ""}}, tally{asked: 2, again: 910 * ms}},
		"a late but quick one does not":      {[]asked{{3900 * ms, slow, ""}}, tally{asked: 1}},
		"it never ended":                     {[]asked{{10 * ms, ms, ""}, {3990 * ms, ms, "HTTP 503"}}, tally{asked: 2, failed: 1, again: 3990 * ms, never: true}},
	} {
		s, fault := &stream{}, time.Now()
		for _, a := range c.answers {
			s.answers = append(s.answers, answer{began: fault.Add(a.began), ended: fault.Add(a.began + a.took), problem: a.problem})
		}
		got := s.tally(fault, fault.Add(window))
		sum := 0
		for _, count := range got.problems {
			sum += count
		}
		if sum != got.failed {
			t.Errorf("%s: %d failed, for %d reasons", name, got.failed, sum)
		}
		if got.asked != c.want.asked || got.failed != c.want.failed || got.inside != c.want.inside || got.again != c.want.again || got.never != c.want.never {
			t.Errorf("%s: %+v, not %+v", name, got, c.want)
		}
	}
}

func TestEqualFailuresAreCountedAsOne(t *testing.T) {
	refused := errors.New("connection refused")
	if got := cause(&url.Error{Op: "Get", URL: "http://127.0.0.1:1/a", Err: refused}); got != refused.Error() {
		t.Errorf("the cause is %q", got)
	}
}

func TestRecoveriesThatProvedNothingCountAsTheLongest(t *testing.T) {
	o := recovered{proven: sample{2 * time.Second, time.Second}, not: []string{"failed"}}
	if got := o.cell(0.5) + ", " + o.cell(1); got != "2.0 s, never" {
		t.Errorf("median and worst are %s", got)
	}
}

func TestTableIsAligned(t *testing.T) {
	text := table([]group{
		{title: "one", columns: []string{"ours", "bare"}, rows: []row{{"a figure", []string{"1 ms", ""}, "2 ms"}}},
		{title: "two", columns: []string{"ours", "bare", "peer"}, rows: []row{{"a longer name", []string{"10 ms", "20 ms", "30 ms"}, ""}}},
	})
	want := `
ONE               ours   bare      -  to beat
  a figure        1 ms      -      -     2 ms

TWO               ours   bare   peer  to beat
  a longer name  10 ms  20 ms  30 ms

`
	if text != want {
		t.Errorf("the table is\n%s\nand should be\n%s", text, want)
	}
}

func TestBenchmarksAreChosenByTheBeginningOfTheirNames(t *testing.T) {
	chosen, err := choose([]string{"kill"})
	if err != nil || len(chosen) != 2 {
		t.Errorf("kill chooses %d, %v", len(chosen), err)
	}
	if all, err := choose(nil); err != nil || len(all) != len(benchmarks) {
		t.Errorf("nothing chooses %d, %v", len(all), err)
	}
	if _, err := choose([]string{"hot", "hott"}); err == nil {
		t.Error("a name that nothing has is taken")
	}
}
