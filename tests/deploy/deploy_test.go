// Package deploy_test holds what is shipped in deploy/ against the programs that
// it is for: configurations are loaded by them, scripts are run.
package deploy_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"path/filepath"
	"testing"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/activities/traffic/traffictest"
	"github.com/understudy-dr/understudy/tests/harness"
)

var toHot = traffic.Change{Set: []traffic.Assignment{
	{Server: traffictest.Primary, State: traffic.Maint},
	{Server: traffictest.Hot, State: traffic.Ready},
}}

// shipped is the absolute path of a file in deploy/.
func shipped(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// needs finds a program, or skips the test.
func needs(t *testing.T, program, debianPackage string) string {
	t.Helper()
	path, err := harness.Find(program, debianPackage)
	if err != nil {
		t.Skipf("missing: %v", err)
	}
	return path
}

// door is a front door that asks for each request where it goes.
func door(t *testing.T, where func() string) string {
	t.Helper()
	s := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", where() },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	})
	t.Cleanup(s.Close)
	return s.URL
}
