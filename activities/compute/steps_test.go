package compute_test

import (
	"slices"
	"testing"

	"github.com/understudy-dr/understudy/activities/compute"
)

func TestBootSteps(t *testing.T) {
	console := "[    1.0] Linux\r\n" +
		"understudy: step boot begin\r\n" +
		"[   12.3] boot[412]: understudy: step mount begin /models/asr from s3://m/asr\n" +
		"understudy: step mount begin /models/asr from s3://m/asr\n" +
		"understudy: step mount done /models/asr\n" +
		"nderstudy: step verify done /models/asr\n" +
		"understudy: step verify failed /models/asr: model.pt is missing\n" +
		"understudy: step whatever\n"
	steps := compute.BootSteps(console)
	want := []compute.BootStep{
		{Name: "boot", State: "begin"}, {Name: "mount", State: "begin", Detail: "/models/asr from s3://m/asr"},
		{Name: "mount", State: "done", Detail: "/models/asr"}, {Name: "verify", State: "failed", Detail: "/models/asr: model.pt is missing"},
	}
	if !slices.Equal(steps, want) {
		t.Errorf("got %+v", steps)
	}
	if s, failed := compute.FailedStep(steps); !failed || s != want[3] || s.String() != "verify failed /models/asr: model.pt is missing" {
		t.Errorf("failed: %+v, %v", s, failed)
	}
	if _, failed := compute.FailedStep(steps[:3]); failed {
		t.Error("a boot that goes on has failed")
	}
}

// Of a console with two boots, only the last one says where the machine is.
func TestLatestBoot(t *testing.T) {
	slim := "understudy: step kernel done after 1 s\nunderstudy: step network done after 2 s\nunderstudy: step boot begin\nunderstudy: step boot done\nunderstudy: step start done after 3 s\n"
	systemd := "understudy: step boot begin\nunderstudy: step mount begin /m\nunderstudy: step mount failed /m: no\n"
	for name, c := range map[string]struct {
		console string
		want    int
	}{
		"nothing":                   {"", 0},
		"a slim one":                {slim, 5},
		"a whole one":               {systemd, 3},
		"a slim one, started again": {slim + "understudy: step stop done\n" + slim, 5},
		"a whole one, and again":    {systemd + systemd, 3},
		"again, and not far yet":    {slim + "understudy: step kernel done after 1.1 s\n", 1},
		"its beginning is lost":     {slim[len("understudy: step kernel done after 1 s\n"):], 4},
	} {
		all := compute.BootSteps(c.console)
		if got := compute.LatestBoot(all); len(got) != c.want || !slices.Equal(got, all[len(all)-len(got):]) {
			t.Errorf("%s: %+v of %+v", name, got, all)
		}
	}
}
