package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/fakeslack"
	"github.com/understudy-dr/understudy/tests/harness"
)

const (
	// scrapeEvery is Prometheus' interval of scrapes and of rules. In production it is longer, and with it the time before anybody notices.
	scrapeEvery = 500 * time.Millisecond
	// startPatience bounds the start of all parts.
	startPatience = 2 * time.Minute
)

// stage is everything that the demo starts.
type stage struct {
	script
	dir          string
	scene        *harness.Scene
	alertmanager *harness.AlertmanagerServer
	prometheus   *harness.PrometheusServer
	// killed are the servers whose end is part of the story.
	killed []string
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
	hot, _ := st.runbook.TierNamed(runbooks.TierHot)
	addresses := map[string]string{
		"primary": st.runbook.Primary.URL, "hot": hot.URL, "S3": st.site.S3["default"].Endpoint, "HAProxy": st.runbook.Traffic.Front,
		"Understudy": "http://" + st.site.Listen.API,
	}
	st.scene, err = harness.StartScene(ctx, harness.SceneOptions{
		Dir: st.dir, Service: service, SiteFile: st.file, Held: hot.Hold, Cold: true, History: true, Home: true, OnSlack: onSlack,
		FrontPort: st.ports.front, PrimaryPort: st.ports.primary, HotPort: st.ports.hot, ColdPort: st.ports.cold, StorePort: st.ports.store,
		SlackPort: st.ports.slack, CommandPort: st.ports.command,
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
	parts.begin("Prometheus", fmt.Sprintf("looks at both servers every %s, once it has begun", scrapeEvery))
	st.prometheus, err = harness.Prometheus(ctx, harness.PrometheusOptions{
		Dir: st.dir, Port: prometheusPort, Every: scrapeEvery, Alertmanagers: []*harness.AlertmanagerServer{st.alertmanager},
		Targets:  map[string]string{service: harness.Address(st.ports.primary)},
		Standbys: map[string]string{service: harness.Address(st.ports.hot)},
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
		if err == nil && len(answer.Data.Result) == 2 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("Prometheus does not see both servers"), ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// kill kills a server, as the story wants it.
func (st *stage) kill(server string) (pid int, at time.Time) {
	victim := st.scene.Primary
	if server == runbooks.TierHot {
		victim = st.scene.Hot
	}
	st.killed = append(st.killed, victim.Spec.Name)
	at = time.Now()
	victim.Kill()
	return victim.PID(), at
}

// died names a part that has ended, but for those that were to end.
func (st *stage) died() error {
	parts := []*harness.Process{
		st.scene.Primary.Process, st.scene.Hot.Process, st.scene.Cold.MinIO.Process, st.scene.Litestream, st.scene.HAProxy.Process,
		st.scene.Understudy.Process, st.alertmanager.Process, st.prometheus.Process,
	}
	if st.scene.Host != nil {
		parts = append(parts, st.scene.Host)
	}
	for _, p := range parts {
		if slices.Contains(st.killed, p.Spec.Name) {
			continue
		}
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
