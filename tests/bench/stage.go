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
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/audio"
	"github.com/understudy-dr/understudy/triggers"
	"github.com/understudy-dr/understudy/workflows"
)

const (
	// faultService is the service that fails.
	faultService = "fun-asr"
	// scrapeEvery is Prometheus' interval of scrapes and rules. The engine behind the alerts is as quick as the checks of the load balancers.
	scrapeEvery = 500 * time.Millisecond
)

// stage is one primary and one standby with three front doors, and an
// Understudy behind the first of them that hears of outages from Prometheus and
// Alertmanager, and by its own heartbeat where it has one.
type stage struct {
	primary, standby *speechProcess
	fronts           [doorCount]string
	understudy       *harness.Understudy
	prometheus       *harness.PrometheusServer
	// parts are all processes, in the order of their start.
	parts []*harness.Process
}

// setStage starts all parts and waits until they know of each other. Where one
// fails, those before it are stopped again.
func setStage(ctx context.Context, dir string) (s *stage, err error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	s = &stage{}
	defer func() {
		if err != nil {
			s.close()
			s = nil
		}
	}()
	if err := s.startServers(ctx, dir); err != nil {
		return s, err
	}
	socket, err := s.openDoors(ctx, dir)
	if err != nil {
		return s, err
	}
	if err := s.startUnderstudy(ctx, dir, socket); err != nil {
		return s, err
	}
	for _, front := range s.fronts {
		if err := until(ctx, harness.Responding(front+"/health")); err != nil {
			return s, err
		}
	}
	// What Prometheus has never seen alive, it does not miss.
	return s, until(ctx, s.scraped)
}

func (s *stage) startServers(ctx context.Context, dir string) (err error) {
	if s.primary, err = startSpeech(ctx, dir, "primary", thinking); err != nil {
		return err
	}
	s.parts = append(s.parts, s.primary.Process)
	if s.standby, err = startSpeech(ctx, dir, "hot", thinking); err != nil {
		return err
	}
	s.parts = append(s.parts, s.standby.Process)
	return nil
}

// openDoors opens the front doors and returns the socket of the first.
func (s *stage) openDoors(ctx context.Context, dir string) (socket string, err error) {
	for door := range doorCount {
		own := filepath.Join(dir, fmt.Sprintf("door-%d", door))
		if err := os.Mkdir(own, 0o755); err != nil {
			return "", err
		}
		if door == nginxAlone {
			n, front, err := openNginx(ctx, own, s.primary.address, s.standby.address)
			if err != nil {
				return "", err
			}
			s.fronts[door], s.parts = front, append(s.parts, n.Process)
			continue
		}
		h, front, err := openHAProxy(ctx, own, s.primary.address, s.standby.address)
		if err != nil {
			return "", err
		}
		s.fronts[door], s.parts = front, append(s.parts, h.Process)
		if door == lookedAfter {
			socket = h.Socket
		}
	}
	return socket, nil
}

// startUnderstudy starts it with those who tell it of outages.
func (s *stage) startUnderstudy(ctx context.Context, dir, socket string) (err error) {
	recording := filepath.Join(dir, harness.Recording)
	if err := os.WriteFile(recording, audio.Silence(3*time.Second).WAV(), 0o644); err != nil {
		return err
	}
	r := runbookOf(faultService, "http://"+s.primary.address, "http://"+s.standby.address, s.fronts[lookedAfter])
	r.Canary = &runbooks.Canary{Transcribe: &runbooks.Transcribe{Audio: recording, Expect: audio.Digits}}
	r.Traffic.Sockets, r.Traffic.Backend = []string{socket}, "fun_asr"
	r.Health.Timeout = runbooks.Duration(200 * time.Millisecond)
	r.Heartbeat = &runbooks.Heartbeat{Interval: runbooks.Duration(250 * time.Millisecond), Failures: 2}
	if s.understudy, err = harness.StartUnderstudy(ctx, harness.UnderstudyOptions{Dir: dir, Runbooks: []runbooks.Runbook{r}}); err != nil {
		return err
	}
	s.parts = append(s.parts, s.understudy.Process)
	alerts, err := harness.Alertmanager(ctx, harness.AlertmanagerOptions{
		Dir: dir, Name: "alertmanager", Webhook: s.understudy.URL + "/api/v1/alerts", Interval: time.Second, Repeat: time.Minute,
	})
	if err != nil {
		return err
	}
	s.parts = append(s.parts, alerts.Process)
	s.prometheus, err = harness.Prometheus(ctx, harness.PrometheusOptions{
		Dir: dir, Every: scrapeEvery, Targets: map[string]string{faultService: s.primary.address}, Alertmanagers: []*harness.AlertmanagerServer{alerts},
	})
	if err != nil {
		return err
	}
	s.parts = append(s.parts, s.prometheus.Process)
	return nil
}

// scraped is nil once Prometheus has seen the primary alive.
func (s *stage) scraped(ctx context.Context) error {
	query := "http://" + s.prometheus.Address + "/api/v1/query?query=" + url.QueryEscape(`up{job="speech"} == 1`)
	var answer struct {
		Data struct{ Result []any }
	}
	err := getJSON(ctx, query, &answer)
	if err == nil && len(answer.Data.Result) != 1 {
		err = errors.New("prometheus does not see the primary")
	}
	return err
}

// recovery is Understudy's report, once its recovery is verified or has ended
// otherwise; the zero report where none began.
func (s *stage) recovery(ctx context.Context) (workflows.Report, error) {
	patience, cancel := context.WithTimeout(ctx, hotPatience)
	defer cancel()
	var r workflows.Report
	last := until(patience, func(ctx context.Context) error {
		var all []triggers.Recovery
		if err := s.understudy.Get(ctx, "/api/v1/recoveries?service="+faultService, &all); err != nil {
			return err
		}
		if len(all) == 0 {
			return errors.New("no recovery yet")
		}
		var detail triggers.RecoveryDetail
		if err := s.understudy.Get(ctx, "/api/v1/recoveries/"+all[0].ID, &detail); err != nil {
			return err
		}
		if r = detail.Report; r.Verified.IsZero() && r.Outcome == "" {
			return errors.New("the recovery is under way")
		}
		return nil
	})
	if last != nil && patience.Err() == nil {
		return r, last
	}
	return r, ctx.Err()
}

// close ends all parts, those first that look after others.
func (s *stage) close() {
	for i := len(s.parts) - 1; i >= 0; i-- {
		s.parts[i].Kill()
	}
}
