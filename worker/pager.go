package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-dr/understudy/activities/chat"
	"github.com/understudy-dr/understudy/runbooks"
)

// pager tells people without the engine.
type pager struct {
	chats   map[string]chat.Messenger
	library func() *runbooks.Library
}

// Page posts one message to every place of a service's runbook.
func (p pager) Page(ctx context.Context, service, text string) error {
	r, ok := p.library().Lookup(service)
	if !ok {
		return fmt.Errorf("service %s has no runbook", service)
	}
	var errs []error
	for _, to := range r.Notify {
		messenger, ok := p.chats[to.Kind]
		if !ok {
			errs = append(errs, fmt.Errorf("the site file has no chat of kind %s", to.Kind))
			continue
		}
		key := fmt.Sprintf("pager/%s/%d", service, time.Now().Unix())
		_, err := messenger.Post(ctx, to.Channel, chat.Message{
			Color: chat.Asking, Headline: service + ": Understudy itself needs a person", Lines: []string{text},
		}, key, false)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
