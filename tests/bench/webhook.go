package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// alertName is the alert that all runbooks of the benchmarks are about.
const alertName = "SpeechServiceDown"

// webhook is what Alertmanager posts (version 4), as far as anybody here reads it.
type webhook struct {
	Version  string  `json:"version"`
	Status   string  `json:"status"`
	Receiver string  `json:"receiver"`
	Alerts   []alert `json:"alerts"`
}

type alert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
	Fingerprint string            `json:"fingerprint"`
}

// sendAlert posts that a service is down, as Alertmanager does, and returns when that was taken.
func sendAlert(ctx context.Context, url, service string) error {
	return sendWebhook(ctx, url, "firing", service, service)
}

// sendWebhook posts one alert, and returns when it was taken.
func sendWebhook(ctx context.Context, url, status, service, fingerprint string) error {
	body, err := json.Marshal(webhook{
		Version: "4", Status: status, Receiver: "bench",
		Alerts: []alert{{
			Status: status, Labels: map[string]string{"alertname": alertName, "service": service},
			Annotations: map[string]string{"summary": service + " cannot be scraped"}, StartsAt: time.Now().UTC(), Fingerprint: fingerprint,
		}},
	})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("the webhook was answered with %s: %s", response.Status, answer)
	}
	return err
}
