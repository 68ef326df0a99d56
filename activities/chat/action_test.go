package chat_test

import (
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/chat"
)

func TestChoicesComeBackAsTheyWent(t *testing.T) {
	for _, c := range []chat.Choice{
		{Verb: chat.Answer, Recovery: "fun-asr-7", Question: "q1", Plan: "abc", Answer: "approve"},
		{Verb: chat.Answer, Recovery: "a-1774000000", Question: "<\"&>\n", Answer: "stay"},
		{Verb: chat.Commit, Recovery: "fun-asr-7"},
		{Verb: chat.Rollback, Recovery: "fun-asr-7"},
		{Verb: chat.Abort, Recovery: "fun-asr-7"},
	} {
		got, err := chat.ParseChoice(c.Value())
		if err != nil || got != c {
			t.Errorf("%+v came back as %+v, %v", c, got, err)
		}
	}
}

func TestChoicesThatAreNone(t *testing.T) {
	for name, value := range map[string]string{
		"nothing":             "",
		"no JSON":             "approve",
		"a list":              "[]",
		"no recovery":         `{"verb":"abort"}`,
		"no recovery's id":    `{"verb":"abort","recovery":"../../x"}`,
		"no verb":             `{"recovery":"asr-1"}`,
		"an unknown verb":     `{"verb":"reboot","recovery":"asr-1"}`,
		"no question":         `{"verb":"answer","recovery":"asr-1","answer":"yes"}`,
		"no answer":           `{"verb":"answer","recovery":"asr-1","question":"q"}`,
		"an abort's question": `{"verb":"abort","recovery":"asr-1","question":"q"}`,
		"too long":            `{"verb":"abort","recovery":"asr-1","plan":"` + strings.Repeat("x", 2000) + `"}`,
	} {
		if c, err := chat.ParseChoice(value); err == nil {
			t.Errorf("%s was taken for %+v", name, c)
		}
	}
}
