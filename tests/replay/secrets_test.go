package replay

import (
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/understudy-dr/understudy/tests/fakeslack"
)

// saying is a history in whose payload somebody has written a text.
func saying(text string) *historypb.History {
	return &historypb.History{Events: []*historypb.HistoryEvent{{EventId: 7, Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
		WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{
			Input: &commonpb.Payloads{Payloads: []*commonpb.Payload{{Data: []byte(text)}}},
		},
	}}}}
}

func TestSecretsAreFound(t *testing.T) {
	environ := []string{"SLACK_TOKEN=hidden-in-slack", "PGPASSWORD=hidden-in-postgres", "AWS_SECRET_ACCESS_KEY=hidden-at-aws", "HOME=/home/dana", "API_KEY=short", "KEY_TOKEN_FILE=/"}
	for _, text := range []string{
		`{"token":"` + fakeslack.Token + `"}`,
		`{"authorization":"Bearer 0123456789abcdef0123"}`,
		`{"access_key":"AKIAIOSFODNN7EXAMPLE"}`,
		"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE",
		`{"url":"https://dana:open-sesame@config.example/v1"}`,
		`{"url":"https://hooks.slack.com/services/T0/B0/x"}`,
		`{"url":"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693a91f6-7xxx"}`,
		`{"password":"open-sesame"}`,
		`{"body":"{\"api_key\": \"open-sesame\"}"}`,
		"password=open-sesame",
		`eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.x`,
		"it said: hidden-in-slack",
		"it said: hidden-in-postgres",
		"it said: hidden-at-aws",
	} {
		found := Secrets(saying(text), environ)
		if len(found) != 1 || !strings.HasPrefix(found[0], "event 7, ") {
			t.Errorf("in %s was found: %q", text, found)
		}
		if strings.Contains(strings.Join(found, ""), "hidden-") || strings.Contains(strings.Join(found, ""), "sesame") {
			t.Errorf("what was found tells the secret: %q", found)
		}
	}
}

func TestWhatIsNoSecret(t *testing.T) {
	environ := []string{"HOME=/home/dana", "API_KEY=short", "KEY_TOKEN_FILE=/", "EMPTY_TOKEN="}
	for _, text := range []string{
		`{"slack":{"token":{"env":"SLACK_TOKEN"}}}`, // a reference
		`{"url":"http://127.0.0.1:8080/health?at=dana@example.com"}`,
		`{"reason":"the password was refused"}`,
		`{"home":"/home/dana","key":"short"}`,
		`a basic test of the bearer of news`,
	} {
		if found := Secrets(saying(text), environ); len(found) > 0 {
			t.Errorf("in %s was found: %q", text, found)
		}
	}
}
