package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
)

// Style says how a button looks.
type Style string

// The styles.
const (
	Plain   Style = ""
	Primary Style = "primary" // what is expected
	Danger  Style = "danger"  // what cannot be taken back, or takes something back
)

// Action is a button below a message.
type Action struct {
	// ID tells the buttons of one message apart.
	ID string `json:"id"`
	// Text stands on the button.
	Text  string `json:"text"`
	Style Style  `json:"style,omitempty"`
	// Value comes back unread with a click: that of a Choice. It is at most 2,000 bytes, and no secret.
	Value string `json:"value"`
	// Leaves says in which state the decision leaves the service. A chat that can asks with it once more before the
	// click counts; empty asks nothing.
	Leaves string `json:"leaves,omitempty"`
}

// Verb is what a person decides about a recovery.
type Verb string

// The verbs.
const (
	Answer   Verb = "answer" // a question of the recovery's
	Commit   Verb = "commit"
	Rollback Verb = "rollback"
	Abort    Verb = "abort"
)

// Choice is what a button stands for. It is bound to what was shown: another
// question, or another plan, and the choice counts no more.
type Choice struct {
	Verb Verb `json:"verb"`
	// Recovery is its id, such as fun-asr-7.
	Recovery string `json:"recovery"`
	// Question, Plan and Answer belong to an answer. Plan is the hash of the plan that was shown.
	Question string `json:"question,omitempty"`
	Plan     string `json:"plan,omitempty"`
	Answer   string `json:"answer,omitempty"`
}

// maxChoice is what the narrowest chat carries with a button, in bytes.
const maxChoice = 2000

var recoveryID = regexp.MustCompile(`^[a-z0-9-]{1,63}-[0-9]{1,19}$`)

// Value is the choice as a button carries it; the same choice always gives the same text.
func (c Choice) Value() string {
	text, _ := json.Marshal(c) // of strings alone: it cannot fail
	return string(text)
}

// ParseChoice takes a button's value apart. What came over a chat is other
// people's text: it fails for everything that no Value makes.
func ParseChoice(value string) (Choice, error) {
	var c Choice
	if len(value) > maxChoice || json.Unmarshal([]byte(value), &c) != nil {
		return Choice{}, errors.New("this button is none of Understudy's")
	}
	switch {
	case !recoveryID.MatchString(c.Recovery):
		return Choice{}, errors.New("this button names no recovery")
	case c.Verb == Answer && (c.Question == "" || c.Answer == ""):
		return Choice{}, errors.New("this button answers no question")
	case c.Verb != Answer && (c.Question != "" || c.Answer != ""):
		return Choice{}, errors.New("this button is none of Understudy's")
	}
	switch c.Verb {
	case Answer, Commit, Rollback, Abort:
		return c, nil
	default:
		return Choice{}, fmt.Errorf("this button's verb is not known to this version: %s", OneLine(string(c.Verb)))
	}
}
