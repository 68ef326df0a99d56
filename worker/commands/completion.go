package commands

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"time"

	"github.com/posener/complete"

	"github.com/understudy-dr/understudy/triggers"
)

// completeIn bounds how long a shell waits for names after a press of the tab key.
const completeIn = 700 * time.Millisecond

// predictors tell shells which names there are. Where no Understudy answers, or
// wants a password that is in no file, there are none.
func predictors(ctx context.Context) map[string]complete.Predictor {
	services := func() (all []triggers.Service) {
		ask(ctx, "/api/v1/services", &all)
		return all
	}
	return map[string]complete.Predictor{
		"service": complete.PredictFunc(func(complete.Args) (names []string) {
			for _, s := range services() {
				names = append(names, s.Service)
			}
			return names
		}),
		"running": complete.PredictFunc(func(complete.Args) (names []string) {
			for _, s := range services() {
				if s.Running != "" {
					names = append(names, s.Service, s.Running)
				}
			}
			return names
		}),
		"recovery": complete.PredictFunc(func(complete.Args) (names []string) {
			var all []triggers.Recovery
			ask(ctx, "/api/v1/recoveries", &all)
			for _, r := range all {
				names = append(names, r.ID)
			}
			return names
		}),
		"tier": complete.PredictSet("hot", "warm", "cold", "cross-region", "primary"),
		"file": complete.PredictFiles("*"),
	}
}

// ask asks with what the environment says: a shell that completes has parsed no flags.
func ask(ctx context.Context, path string, into any) {
	g := Globals{Server: os.Getenv("UNDERSTUDY_SERVER"), User: os.Getenv("UNDERSTUDY_USER"), PasswordFile: os.Getenv("UNDERSTUDY_PASSWORD_FILE"), CAFile: os.Getenv("UNDERSTUDY_CA_FILE")}
	if g.Server == "" {
		g.Server = "http://127.0.0.1:8400"
	}
	ctx, cancel := context.WithTimeout(ctx, completeIn)
	defer cancel()
	if _, body, err := g.do(ctx, http.MethodGet, path, nil, nil); err == nil {
		_ = json.Unmarshal(body, into)
	}
}
