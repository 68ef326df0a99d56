package nginx

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"

	"github.com/understudy-dr/understudy/activities/traffic"
	"github.com/understudy-dr/understudy/runbooks"
)

func TestAStrangerIsNoWorker(t *testing.T) {
	for _, pid := range []int{os.Getpid(), 0, 1 << 30} {
		if workers, err := accepting(pid); !errors.Is(err, errHidden) {
			t.Errorf("%d has the workers %v, %v", pid, workers, err)
		}
	}
}

func TestHiddenWorkersMustBeQuiet(t *testing.T) {
	was := []traffic.Server{{Name: "a", Address: "10.0.0.1:80", State: traffic.Ready}}
	wanted := []traffic.Server{{Name: "a", Address: "10.0.0.1:80", State: traffic.Maint}}
	var asked atomic.Int32
	nginx := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		states := wanted
		if asked.Add(1) == 2 {
			states = was // an old worker that still accepts
		}
		fmt.Fprintf(w, "%d: %s", os.Getpid(), tell(states))
	}))
	t.Cleanup(nginx.Close)
	b, err := New(runbooks.Traffic{Backend: "speech", File: "/nowhere", Front: nginx.URL})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.await(t.Context(), wanted, nil, true); err != nil {
		t.Fatal(err)
	}
	if n := asked.Load(); n < 4 {
		t.Errorf("believed after %d answers, of which the second was an old worker's", n)
	}
}
