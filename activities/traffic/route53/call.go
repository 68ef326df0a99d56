package route53

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/understudy-dr/understudy/activities/traffic"
)

const (
	// page is how many records one answer holds. The name has a few, and what follows it in the zone fills the rest.
	page = 50
	// maxPages bounds the answers for one name: Route 53 allows it 100 weighted records of a type.
	maxPages = 20
)

// read lists the records of the name.
func (b *Balancer) read(ctx context.Context) (records, error) {
	in := &api.ListResourceRecordSetsInput{HostedZoneId: aws.String(b.zone), StartRecordName: aws.String(b.record), MaxItems: aws.Int32(page)}
	var listed []types.ResourceRecordSet
	for range maxPages {
		out, err := call(ctx, b, passes, "list the records of "+b.name(), func(ctx context.Context, c *api.Client) (*api.ListResourceRecordSetsOutput, error) {
			out, err := c.ListResourceRecordSets(ctx, in)
			if err == nil && out.MaxItems == nil {
				return nil, errStranger
			}
			return out, err
		})
		if err != nil {
			return records{}, err
		}
		listed = append(listed, out.ResourceRecordSets...)
		if !out.IsTruncated || canonical(aws.ToString(out.NextRecordName)) != b.record {
			return parse(b.zone, b.record, listed)
		}
		next := *in
		next.StartRecordName, next.StartRecordType, next.StartRecordIdentifier = out.NextRecordName, out.NextRecordType, out.NextRecordIdentifier
		in = &next
	}
	return records{}, fmt.Errorf("%w: the records of %s do not end", traffic.ErrUnreachable, b.name())
}

// write makes a change and returns its id. Only a call that was certainly not
// carried out is made again here: after any other failure the records must be
// read again first.
func (b *Balancer) write(ctx context.Context, c traffic.Change, batch []types.Change) (string, error) {
	out, err := call(ctx, b, throttled, "change "+b.name(), func(ctx context.Context, client *api.Client) (*api.ChangeResourceRecordSetsOutput, error) {
		out, err := client.ChangeResourceRecordSets(ctx, &api.ChangeResourceRecordSetsInput{
			HostedZoneId: aws.String(b.zone), ChangeBatch: &types.ChangeBatch{Comment: aws.String(comment(c)), Changes: batch},
		})
		if err == nil && (out.ChangeInfo == nil || aws.ToString(out.ChangeInfo.Id) == "") {
			return nil, errStranger
		}
		return out, err
	})
	if err != nil {
		return "", err
	}
	return *out.ChangeInfo.Id, nil
}

// look asks how far a change is.
func (b *Balancer) look(ctx context.Context, id string) (inSync bool, err error) {
	out, err := call(ctx, b, passes, "ask for the change "+id, func(ctx context.Context, c *api.Client) (*api.GetChangeOutput, error) {
		out, err := c.GetChange(ctx, &api.GetChangeInput{Id: aws.String(id)})
		if err == nil && out.ChangeInfo == nil {
			return nil, errStranger
		}
		return out, err
	})
	return err == nil && out.ChangeInfo.Status == types.ChangeStatusInsync, err
}

// call makes a call until it has an answer that counts, or its time is over.
// again says of an error that the call may be made once more. Credentials that
// are not accepted are read again, once.
func call[Out any](ctx context.Context, b *Balancer, again func(error) bool, what string, do func(context.Context, *api.Client) (Out, error)) (Out, error) {
	var none Out
	patient, cancel := context.WithTimeout(ctx, b.config.Patience)
	defer cancel()
	var last error // what Route 53 said; a time that is over says less
	for pause, reloaded := b.config.Pause, false; ; pause = min(2*pause, maxPause) {
		out, generation, err := attempt(patient, b, do)
		switch {
		case err == nil:
			return out, nil
		case patient.Err() == nil || last == nil:
			last = err
		}
		switch {
		case foreign(err) && !reloaded && patient.Err() == nil:
			b.config.Account.Reload(generation)
			reloaded = true
		case !again(err), !wait(patient, pause):
			return none, failed(ctx, what, last)
		}
	}
}

func attempt[Out any](ctx context.Context, b *Balancer, do func(context.Context, *api.Client) (Out, error)) (out Out, generation int, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.config.Attempt)
	defer cancel()
	client, generation, err := b.connected(ctx)
	if err == nil {
		out, err = do(ctx, client)
	}
	return out, generation, err
}

// connected returns the client, and the generation of its credentials.
func (b *Balancer) connected(ctx context.Context) (*api.Client, int, error) {
	made, generation, err := b.config.Account.Config(ctx, "route53", b.config.Traffic.Region)
	if err != nil {
		return nil, generation, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client == nil || generation != b.generation {
		// Calls are made again by us: after some errors that is right for one call and wrong for another.
		b.client, b.generation = api.NewFromConfig(made, func(o *api.Options) { o.Retryer = aws.NopRetryer{} }), generation
	}
	return b.client, generation, nil
}

// wait pauses for about so long; false where the time is over.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause/2 + rand.N(pause/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
