package slackin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	roleResponder = "responder"
	roleApprover  = "approver"
	// maxSaid bounds what people are told, in bytes.
	maxSaid = 600
)

// click is one press of a button, as Slack tells it.
type click struct {
	id    string
	user  string
	ref   chat.Ref
	value string
	text  string
}

// errForeign means that an interaction is none with a button.
var errForeign = errors.New("this is no click on a button")

// parse reads an interaction's payload. What is not needed is not looked at: the
// response URL least of all, for no address is taken from a message.
func parse(payload []byte) (click, error) {
	var in slack.InteractionCallback
	if err := json.Unmarshal(payload, &in); err != nil {
		return click{}, errors.New("the payload is no interaction of Slack's")
	}
	if in.Type != slack.InteractionTypeBlockActions || len(in.ActionCallback.BlockActions) == 0 {
		return click{}, errForeign
	}
	action := in.ActionCallback.BlockActions[0]
	c := click{user: in.User.ID, ref: chat.Ref{Channel: in.Channel.ID, ID: in.Container.MessageTs}, value: action.Value, text: short(action.Text.Text, 75)}
	if c.user == "" || c.ref.Channel == "" || c.ref.ID == "" || action.ActionTs == "" || string(action.Type) != string(slack.METButton) {
		return click{}, errForeign
	}
	c.id = strings.Join([]string{"slack", c.ref.Channel, c.ref.ID, c.user, action.ActionTs, action.ActionID}, "/")
	return c, nil
}

// taken is what became of a click that came in.
type taken string

const (
	inTurn   taken = "in turn"  // it will be acted upon
	repeated taken = "repeated" // it came before
	crowded  taken = "crowded"  // too many wait: Slack must not believe that it was taken
)

// take puts a click in line. The same click twice is taken once.
func (k *Clicks) take(c click) taken {
	if !k.seen.first(c.id, k.Now()) {
		k.results.WithLabelValues(string(repeated)).Inc()
		return repeated
	}
	if !k.enqueue(c) {
		k.seen.forget(c.id)
		k.results.WithLabelValues(string(crowded)).Inc()
		return crowded
	}
	return inTurn
}

// act carries out one click, and tells what became of it.
func (k *Clicks) act(ctx context.Context, c click) {
	decided, cancel := context.WithTimeout(ctx, decideWithin)
	defer cancel()
	choice, person, left, err := k.decide(decided, c)
	log := k.Log.With("by", person.Name, "role", person.Role, "slack_user", c.user, "verb", choice.Verb, "recovery", choice.Recovery,
		"question", choice.Question, "answer", choice.Answer, "plan", choice.Plan)
	told, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	if err != nil {
		k.results.WithLabelValues("refused").Inc()
		log.Info("a click in Slack was refused", "reason", err)
		if err := k.Chat.Whisper(told, c.ref.Channel, c.user, short("Not done: "+err.Error(), maxSaid)); err != nil {
			log.Warn("who has clicked in Slack could not be told why it was refused", "error", err)
		}
		return
	}
	k.results.WithLabelValues("decided").Inc()
	log.Info("a decision was made in Slack", "left", left)
	line := fmt.Sprintf("%s: decided by %s (%s) at %s", c.text, person.Name, person.Role, k.Now().UTC().Format("15:04:05 UTC"))
	if left != "" {
		line += "; " + left
	}
	if err := k.Chat.Decided(told, c.ref, choice, short(line, maxSaid)); err != nil {
		log.Warn("the decision could not be shown in Slack; it counts all the same", "error", err)
	}
}

// decide finds out who wants what, and hands it over.
func (k *Clicks) decide(ctx context.Context, c click) (choice chat.Choice, person runbooks.User, left string, err error) {
	if choice, err = chat.ParseChoice(c.value); err != nil {
		return choice, person, "", err
	}
	person, known := k.people[c.user]
	switch {
	case !known:
		return choice, person, "", fmt.Errorf("no user of Understudy has your Slack account. Whoever keeps its site file can add slack: %s to yours", short(c.user, 40))
	case person.Role != roleResponder && person.Role != roleApprover:
		return choice, person, "", fmt.Errorf("%s is a %s, and decisions are for responders and approvers", person.Name, person.Role)
	}
	d := Decision{
		ID: c.id, Recovery: choice.Recovery, Question: choice.Question, Plan: choice.Plan, Answer: choice.Answer,
		By: person.Name, Role: person.Role, From: "Slack " + short(c.user, 40), Reason: fmt.Sprintf("pressed %q in Slack", c.text),
	}
	switch choice.Verb {
	case chat.Answer:
		left, err = k.Decider.Answer(ctx, d)
	case chat.Commit:
		left, err = k.Decider.Commit(ctx, d)
	case chat.Rollback:
		left, err = k.Decider.Rollback(ctx, d)
	case chat.Abort:
		left, err = k.Decider.Abort(ctx, d)
	default: // ParseChoice lets no other pass
		err = fmt.Errorf("%s is no decision", choice.Verb)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("the engine did not answer in time; whether the decision counts is not known. Look at the recovery, and press again if it still asks")
	}
	return choice, person, left, err
}

// short makes one line of a text, at most so many bytes.
func short(text string, limit int) string {
	text = chat.OneLine(text)
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
