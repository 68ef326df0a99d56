package reports_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/activities/reports"
)

// memory is a store that fails when it is told to, as often as it is told.
type memory struct {
	mu    sync.Mutex
	files map[string]string
	// fail is asked before each write and creation.
	fail func(verb, name string) error
}

var (
	errAway = errors.New("the store is away")
	// errLost means that it was written, and nobody heard of it.
	errLost = errors.New("the answer was lost")
)

func newMemory() *memory { return &memory{files: map[string]string{}} }

func (m *memory) put(verb, name string, content []byte, once bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var failed error
	if m.fail != nil {
		if failed = m.fail(verb, name); failed != nil && !errors.Is(failed, errLost) {
			return failed
		}
	}
	if _, there := m.files[name]; there && once {
		return reports.ErrExists
	}
	m.files[name] = string(content)
	return failed
}

func (m *memory) Write(_ context.Context, name string, content []byte) error {
	return m.put("write", name, content, false)
}

func (m *memory) Create(_ context.Context, name string, content []byte) error {
	return m.put("create", name, content, true)
}

func (m *memory) Read(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	content, ok := m.files[name]
	if !ok {
		return nil, reports.ErrNone
	}
	return []byte(content), nil
}

func (m *memory) List(_ context.Context, prefix string) (names []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.files {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

var now = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

func name(epoch int) string { return fmt.Sprintf("asr/%020d", epoch) }

func bundle(epoch int) reports.Bundle {
	return reports.Bundle{
		Name: name(epoch), JSON: fmt.Appendf(nil, "{\n  \"service\": \"asr\",\n  \"epoch\": %d\n}", epoch), Now: now,
		Files: map[string][]byte{".md": fmt.Appendf(nil, "# %d", epoch), ".html": fmt.Appendf(nil, "<p>%d", epoch)},
	}
}

func keep(t *testing.T, s reports.Store, epochs ...int) {
	t.Helper()
	for _, epoch := range epochs {
		if err := reports.Keep(t.Context(), s, bundle(epoch)); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t *testing.T, s reports.Store) reports.Verified {
	t.Helper()
	v, err := reports.Verify(t.Context(), s, "asr", now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func link(number int) string { return fmt.Sprintf("asr/chain/%020d.txt", number) }

func TestTamperingShows(t *testing.T) {
	flip := func(name, old, new string) func(*memory) {
		return func(m *memory) {
			if !strings.Contains(m.files[name], old) {
				panic(name + " has no " + old)
			}
			m.files[name] = strings.Replace(m.files[name], old, new, 1)
		}
	}
	drop := func(names ...string) func(*memory) {
		return func(m *memory) {
			for _, name := range names {
				delete(m.files, name)
			}
		}
	}
	for title, c := range map[string]struct {
		tamper func(*memory)
		want   string // the report and what is said of it; empty where all is well
	}{
		"nothing":                      {func(*memory) {}, ""},
		"a byte":                       {flip(name(3)+".json", `"epoch": 3`, `"epoch": 4`), name(3) + ": it is not what was written"},
		"a space":                      {flip(name(3)+".json", "{\n", "{ \n"), name(3) + ": it is not what was written"},
		"the hash itself":              {flip(name(3)+".json", `"sha256": "`, `"sha256": "0`), name(3) + ": it is not what was written"},
		"cut off":                      {flip(name(3)+".json", "}\n}\n", "}"), name(3) + ": it is not what was written"},
		"the Markdown":                 {flip(name(3)+".md", "3", "2"), name(3) + ": its .md file is not what was written"},
		"the page":                     {flip(name(3)+".html", "3", "2"), name(3) + ": its .html file is not what was written"},
		"no page":                      {drop(name(3) + ".html"), name(3) + ": its .html file is missing"},
		"a missing report":             {drop(name(3)+".json", name(3)+".md", name(3)+".html"), name(3) + ": it is missing"},
		"the first missing":            {drop(name(1) + ".json"), name(1) + ": it is missing"},
		"the last missing":             {drop(name(5) + ".json"), name(5) + ": it is missing"},
		"a link":                       {drop(link(3)), ": link 3 is missing"},
		"links":                        {drop(link(2), link(3)), ": links 2 to 3 are missing"},
		"the first link":               {drop(link(1)), ": link 1 is missing"},
		"report and link":              {drop(name(3)+".json", name(3)+".md", name(3)+".html", link(3)), ": link 3 is missing"},
		"the last link":                {drop(link(5)), name(5) + ": it carries a seal, and its link is missing"},
		"all links":                    {drop(link(1), link(2), link(3), link(4), link(5)), name(1) + ": it carries a seal"},
		"another report in its place":  {func(m *memory) { m.files[name(3)+".json"] = m.files[name(4)+".json"] }, name(3) + ": it was replaced"},
		"the seal taken off":           {func(m *memory) { m.files[name(3)+".json"] = string(bundle(3).JSON) }, name(3) + ": it carries no seal"},
		"a link that says nothing":     {func(m *memory) { m.files[link(3)] = "{" }, ": link 3 cannot be read"},
		"a link of another number":     {func(m *memory) { m.files[link(3)] = m.files[link(4)] }, ": link 3 cannot be read"},
		"a link that names another":    {flip(link(3), name(3), name(9)), name(9) + ": it is missing"},
		"a forged report put there":    {func(m *memory) { m.files[name(9)+".json"] = `{"service": "asr"}` }, name(9) + ": it stands outside the chain"},
		"other things beside":          {func(m *memory) { m.files["asr/readme"], m.files["asr/chain/x.txt"] = "x", "y" }, ""},
		"rewritten with its own hash":  {func(m *memory) { m.rewrite(t, 3, false) }, name(3) + ": it was replaced"},
		"rewritten together with link": {func(m *memory) { m.rewrite(t, 3, true) }, name(4) + ": it does not follow " + name(3)},
	} {
		t.Run(title, func(t *testing.T) {
			m := newMemory()
			m.files[name(0)+".json"] = `{"service": "asr"}` // from before there was a chain
			keep(t, m, 1, 2, 3, 4, 5)
			c.tamper(m)
			v := verify(t, m)
			if c.want == "" {
				if len(v.Broken) != 0 || v.Reports != 5 || v.Older != 1 || v.Last != name(5) || len(v.SHA256) != 64 {
					t.Errorf("%+v", v)
				}
				return
			}
			if len(v.Broken) == 0 || !strings.HasPrefix(v.Broken[0].Report+": "+v.Broken[0].What, c.want) {
				t.Errorf("%+v\nwant %s", v.Broken, c.want)
			}
		})
	}
}

// rewrite forges a report as somebody would who knows how it is made: with its
// place in the chain and its own hash, and if asked with its link.
func (m *memory) rewrite(t *testing.T, epoch int, linked bool) {
	forger := newMemory()
	maps.Copy(forger.files, m.files)
	for n := epoch; n <= 5; n++ {
		delete(forger.files, link(n))
	}
	b := bundle(epoch)
	b.JSON = bytes.Replace(b.JSON, []byte(`"epoch"`), []byte(`"lost": 0, "epoch"`), 1)
	if err := reports.Keep(t.Context(), forger, b); err != nil {
		t.Fatal(err)
	}
	m.files[name(epoch)+".json"] = forger.files[name(epoch)+".json"]
	if linked {
		m.files[link(epoch)] = forger.files[link(epoch)]
	}
}

func TestTwoThatEndAtOnceStandOneAfterTheOther(t *testing.T) {
	m := newMemory()
	var wg sync.WaitGroup
	for epoch := 1; epoch <= 12; epoch++ {
		wg.Go(func() {
			if err := reports.Keep(t.Context(), m, bundle(epoch)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if v := verify(t, m); v.Reports != 12 || len(v.Broken) != 0 {
		t.Errorf("%+v", v)
	}
}

// A crash, or a store that goes away, at each write: the repeated try leaves a
// whole chain, with each report in it once.
func TestARepeatedTryFindsItsLink(t *testing.T) {
	for at := range 5 {
		for _, taken := range []bool{false, true} { // whether the write that failed was carried out
			t.Run(fmt.Sprintf("write %d, taken %v", at, taken), func(t *testing.T) {
				m := newMemory()
				keep(t, m, 1)
				writes := 0
				m.fail = func(string, string) error {
					writes++
					switch {
					case writes <= at:
						return nil
					case writes == at+1 && taken:
						return errLost
					default:
						return errAway
					}
				}
				b := bundle(2)
				err := reports.Keep(t.Context(), m, b)
				if (err == nil) != (at > 3) {
					t.Fatalf("%d writes: %v", writes, err)
				}
				m.fail = nil
				keep(t, m, 3) // another ends meanwhile
				b.Again = true
				for range 2 {
					if err := reports.Keep(t.Context(), m, b); err != nil {
						t.Fatal(err)
					}
				}
				v := verify(t, m)
				if v.Reports != 3 || len(v.Broken) != 0 {
					t.Errorf("%+v\n%v", v, slices.Sorted(maps.Keys(m.files)))
				}
				if _, more := m.files[link(4)]; more {
					t.Error("it has two links")
				}
			})
		}
	}
}

func TestAReportThatCannotBeChainedIsKept(t *testing.T) {
	m := newMemory()
	keep(t, m, 1)
	m.fail = func(verb, _ string) error {
		if verb == "create" {
			return errAway
		}
		return nil
	}
	if err := reports.Keep(t.Context(), m, bundle(2)); !errors.Is(err, errAway) {
		t.Errorf("%v", err)
	}
	if m.files[name(2)+".json"] != string(bundle(2).JSON) || m.files[name(2)+".md"] == "" {
		t.Error("it was not kept")
	}
	if v := verify(t, m); len(v.Broken) != 1 || v.Broken[0].Report != name(2) || !strings.Contains(v.Broken[0].What, "outside the chain") {
		t.Errorf("%+v", v)
	}
	m.fail = nil
	again := bundle(2)
	again.Again = true
	if err := reports.Keep(t.Context(), m, again); err != nil {
		t.Fatal(err)
	}
	if v := verify(t, m); len(v.Broken) != 0 || v.Reports != 2 {
		t.Errorf("%+v", v)
	}
	// What is no JSON object cannot carry a seal.
	b := bundle(3)
	b.JSON = []byte(`"an error"`)
	if err := reports.Keep(t.Context(), m, b); err == nil || m.files[name(3)+".json"] != `"an error"` {
		t.Errorf("%v", err)
	}
}

func TestAReportThatIsBeingWrittenIsNotMissing(t *testing.T) {
	m := newMemory()
	keep(t, m, 1, 2)
	delete(m.files, name(2)+".json")
	for after, writing := range map[time.Duration]int{time.Second: 1, time.Hour: 0, -time.Hour: 0} {
		v, err := reports.Verify(t.Context(), m, "asr", now.Add(after))
		if err != nil || v.Writing != writing || len(v.Broken) != 1-writing {
			t.Errorf("%s: %+v, %v", after, v, err)
		}
	}
}

func TestAReportThatSaysSomethingElseByNowHasTwoLinks(t *testing.T) {
	m := newMemory()
	keep(t, m, 1)
	b := bundle(1)
	b.Again, b.JSON = true, []byte(`{"service": "asr", "more": 1}`)
	if err := reports.Keep(t.Context(), m, b); err != nil {
		t.Fatal(err)
	}
	if v := verify(t, m); len(v.Broken) != 0 || v.Reports != 1 || m.files[link(2)] == "" {
		t.Errorf("%+v", v)
	}
}

// Each place has its own chain: one that was away misses a report, and says nothing false.
func TestAPlaceThatWasAway(t *testing.T) {
	here, there := newMemory(), newMemory()
	places := reports.Places{{Name: "disk", Store: here}, {Name: "s3", Store: there}}
	for epoch := 1; epoch <= 3; epoch++ {
		there.fail = func(string, string) error {
			if epoch == 2 {
				return errAway
			}
			return nil
		}
		for _, p := range reports.Each(places) {
			if err := reports.Keep(t.Context(), p, bundle(epoch)); err != nil && (epoch != 2 || p.Name != "s3") {
				t.Fatal(err)
			}
		}
	}
	if v := verify(t, here); v.Reports != 3 || len(v.Broken) != 0 {
		t.Errorf("%+v", v)
	}
	if v := verify(t, there); v.Reports != 2 || len(v.Broken) != 0 {
		t.Errorf("%+v", v)
	}
	// A place that lacks what is the newest elsewhere was away, or its end was cut off.
	newest := func() (said []string) {
		all, err := reports.VerifyAll(t.Context(), places, "", now.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range all {
			for _, b := range v.Broken {
				said = append(said, v.Place+" "+b.Report)
			}
		}
		return said
	}
	if said := newest(); len(said) != 0 {
		t.Errorf("%q", said)
	}
	for _, file := range []string{name(3) + ".json", name(3) + ".md", name(3) + ".html", link(3)} {
		delete(here.files, file)
	}
	if said := newest(); !slices.Equal(said, []string{"disk " + name(3)}) {
		t.Errorf("%q", said)
	}
	if services, err := reports.Services(t.Context(), places); err != nil || !slices.Equal(services, []string{"asr"}) {
		t.Errorf("%v, %v", services, err)
	}
}
