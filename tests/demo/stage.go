package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/tests/harness"
)

const (
	siteFile    = "tests/demo/understudy.yaml"
	runbookFile = "runbooks/demo.yaml"
	service     = "demo"

	// scrapeEvery is Prometheus' interval of scrapes and of rules. In production it is longer, and with it the time before anybody notices.
	scrapeEvery = 500 * time.Millisecond
	// startPatience bounds the start of all parts.
	startPatience = 2 * time.Minute
)

// script is what the demo is played from: the very files that Understudy reads.
type script struct {
	// file is the absolute path of the site file.
	file    string
	site    runbooks.Site
	runbook runbooks.Runbook
	ports   ports
}

// readScript reads the files, and checks that the ports they name are free.
func readScript() (sc script, err error) {
	if sc.file, err = filepath.Abs(siteFile); err != nil {
		return sc, err
	}
	site, problems := runbooks.LoadSite(sc.file)
	library, more := runbooks.LoadLibrary(site.Runbooks...)
	if err := append(problems, more...).Err(); err != nil {
		return sc, err
	}
	var ok bool
	if sc.runbook, ok = library.Lookup(service); !ok || site.Chat.Slack == nil {
		return sc, fmt.Errorf("%s must name a runbook of the service %s, and a Slack", siteFile, service)
	}
	sc.site = site
	if sc.ports, err = readPorts(site, sc.runbook); err != nil {
		return sc, err
	}
	return sc, sc.ports.free()
}

// stage is everything that the demo starts.
type stage struct {
	script
	dir          string
	scene        *harness.Scene
	alertmanager *harness.AlertmanagerServer
	prometheus   *harness.PrometheusServer
}

// setStage starts every part, and shows each one. Where one fails, those before it are stopped again.
func setStage(ctx context.Context, s *show, sc script, dir string, onSlack func(fakeslack.Change)) (*stage, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	st := &stage{script: sc, dir: dir}
	parts := parts{show: s}
	err := st.start(ctx, &parts, onSlack)
	s.progress("")
	if err != nil {
		st.close()
		return nil, err
	}
	parts.finish()
	return st, nil
}

func (st *stage) start(ctx context.Context, parts *parts, onSlack func(fakeslack.Change)) (err error) {
	parts.begin("model", "the speech recognizer's program and its model, on disk")
	if _, err := harness.BuildModel(ctx, "asr", harness.ModelVersion); err != nil {
		return err
	}
	hot := st.runbook.Tiers[0]
	addresses := map[string]string{
		"primary": st.runbook.Primary.URL, "hot": hot.URL, "HAProxy": st.runbook.Traffic.Front, "Understudy": "http://" + st.site.Listen.API,
	}
	st.scene, err = harness.StartScene(ctx, harness.SceneOptions{
		Dir: st.dir, Service: service, SiteFile: st.file, Held: hot.Hold, OnSlack: onSlack,
		FrontPort: st.ports.front, PrimaryPort: st.ports.primary, HotPort: st.ports.hot, SlackPort: st.ports.slack, CommandPort: st.ports.command,
		Told: func(part, what string) {
			if address := addresses[part]; address != "" {
				what += ", " + address
			}
			parts.begin(part, what)
		},
	})
	if err != nil {
		return err
	}
	parts.begin("Alertmanager", "sends what Prometheus raises to Understudy")
	st.alertmanager, err = harness.Alertmanager(ctx, harness.AlertmanagerOptions{
		Dir: st.dir, Name: "alertmanager", Port: alertmanagerPort, Webhook: st.scene.Understudy.URL + "/api/v1/alerts",
		Interval: time.Second, Repeat: time.Minute,
	})
	if err != nil {
		return err
	}
	parts.begin("Prometheus", fmt.Sprintf("looks at the primary every %s, once it has begun", scrapeEvery))
	primary, err := url.Parse(st.runbook.Primary.URL)
	if err != nil {
		return err
	}
	st.prometheus, err = harness.Prometheus(ctx, harness.PrometheusOptions{
		Dir: st.dir, Port: prometheusPort, Every: scrapeEvery, Targets: map[string]string{service: primary.Host},
		Alertmanagers: []*harness.AlertmanagerServer{st.alertmanager},
	})
	if err != nil {
		return err
	}
	// What Prometheus has never seen alive, it does not miss.
	return st.awaitScrape(ctx)
}

func (st *stage) awaitScrape(ctx context.Context) error {
	query := "http://" + st.prometheus.Address + "/api/v1/query?query=" + url.QueryEscape("up{service=\""+service+"\"} == 1")
	for {
		var answer struct {
			Data struct{ Result []any }
		}
		err := get(ctx, query, &answer)
		if err == nil && len(answer.Data.Result) == 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("Prometheus does not see the primary"), ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// died names a part that has ended, but for the primary, which is to end.
func (st *stage) died() error {
	for _, p := range []*harness.Process{
		st.scene.Hot.Process, st.scene.HAProxy.Process, st.scene.Understudy.Process, st.alertmanager.Process, st.prometheus.Process,
	} {
		select {
		case <-p.Done():
			return fmt.Errorf("%s has ended by itself: %v\n%s", p.Spec.Name, p.Err(), p.Tail(1000))
		default:
		}
	}
	return nil
}

// close ends everything that was started, Understudy first, and returns when all of it is gone. A second time it does nothing.
func (st *stage) close() {
	if st.scene != nil {
		st.scene.Stop()
	}
	if st.prometheus != nil {
		st.prometheus.Kill()
	}
	if st.alertmanager != nil {
		st.alertmanager.Kill()
	}
	st.scene, st.prometheus, st.alertmanager = nil, nil, nil
}

// parts shows one part after the other, with how long each took to be ready.
type parts struct {
	show       *show
	name, what string
	began      time.Time
}

func (p *parts) begin(name, what string) {
	p.finish()
	p.name, p.what, p.began = name, what, time.Now()
	p.show.progress("%s ...", name)
}

func (p *parts) finish() {
	if p.name != "" {
		p.show.row(cell{p.name, 14, bold}, cell{fmt.Sprintf("%.1f s", time.Since(p.began).Seconds()), 8, dim}, cell{text: p.what})
	}
}

// makeDir makes the directory of one demo: logs, the engine's file, reports.
func makeDir() (string, error) { return os.MkdirTemp("", "understudy-demo-") }
