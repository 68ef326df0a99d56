package local

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/compute"
)

const record = `record {"id":"k","key":"k","state":"","tags":{"managed-by":"understudy"}}`

func TestAnswers(t *testing.T) {
	log := "log " + base64.StdEncoding.EncodeToString([]byte("one\ntwo\x1b[0m\n\n\xff"))
	for name, c := range map[string]struct {
		text     string
		ok       bool
		err      error
		machines []compute.Machine
	}{
		"nothing":             {text: ""},
		"no beginning":        {text: "end\n"},
		"no end":              {text: "understudy-machines\nmachine running\n" + record + "\n"},
		"an unknown line":     {text: "understudy-machines\nhello\nend\n"},
		"an unknown state":    {text: "understudy-machines\nmachine flying\nlog \n" + record + "\nend\n"},
		"a broken record":     {text: "understudy-machines\nmachine running\nlog \nrecord {\nend\n"},
		"a call that is done": {text: "understudy-machines\nend\n", ok: true},
		"what a login prints": {text: "Welcome!\nerror used x\nend\nunderstudy-machines\nend\n", ok: true},
		"a refusal":           {text: "understudy-machines\nerror refused no \x1b[31mway\nend\n", ok: true, err: compute.ErrRefused},
		"no room":             {text: "understudy-machines\nerror capacity full\nend\n", ok: true, err: compute.ErrCapacity},
		"a machine": {text: "understudy-machines\nmachine running\n" + log + "\n" + record + "\nend\n", ok: true,
			machines: []compute.Machine{{ID: "k", State: compute.Running, Detail: "its log ends: one | two.[0m | ."}}},
		"two machines": {text: "understudy-machines\nmachine stopped\nlog \n" + record + "\nmachine ended\nexit 137\nlog \n" + record + "\nend\n", ok: true,
			machines: []compute.Machine{{ID: "k", State: compute.Stopped}, {ID: "k", State: compute.Gone, Detail: "its process was ended by signal 9 (killed)"}}},
	} {
		a, ok := parse(c.text)
		if ok != c.ok || !errors.Is(a.err, c.err) || len(a.machines) != len(c.machines) {
			t.Errorf("%s: %+v, %v", name, a, ok)
			continue
		}
		for i, want := range c.machines {
			if got := a.machines[i]; got.ID != want.ID || got.State != want.State || got.Detail != want.Detail || !got.Ours() {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
	}
	whole := "understudy-machines\nmachine running\n" + log + "\n" + record + "\nend\n"
	for cut := range len(whole) - 1 {
		if a, ok := parse(whole[:cut]); ok && !strings.HasSuffix(whole[:cut], "\nend") {
			t.Errorf("the first %d bytes are an answer: %+v", cut, a)
		}
	}
	if a, ok := parse("understudy-machines\nerror unknown who knows\nend\n"); !ok || a.err == nil || certain(a.err) {
		t.Errorf("what is unknown claims something: %+v", a)
	}
}
