package ec2_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-dr/understudy/tests/ec2"
)

func TestLifeOfAnInstance(t *testing.T) {
	a := newAccount(t, ec2.Options{Boot: time.Minute, Off: time.Minute})
	i := a.run(launch("life"))
	if i.State.Name != types.InstanceStateNamePending || *i.Placement.AvailabilityZone != "us-west-2a" || *i.ClientToken != "life" ||
		!strings.HasPrefix(*i.PrivateIpAddress, "127.1.") || i.PublicIpAddress != nil || i.InstanceType != "g5.xlarge" || !i.LaunchTime.Equal(a.at) {
		t.Errorf("launched: %+v", i)
	}
	c, ids := a.client("us-west-2"), []string{*i.InstanceId}
	steps := []struct {
		do   func() error
		want string
	}{
		{func() error { return nil }, "pending"},
		{func() error {
			_, err := c.StopInstances(t.Context(), &api.StopInstancesInput{InstanceIds: ids})
			return err
		}, "IncorrectInstanceState"},
		{func() error { a.pass(time.Minute); return nil }, "running"},
		{func() error {
			_, err := c.StartInstances(t.Context(), &api.StartInstancesInput{InstanceIds: ids})
			return err
		}, "running"},
		{func() error {
			_, err := c.StopInstances(t.Context(), &api.StopInstancesInput{InstanceIds: ids})
			return err
		}, "stopping"},
		{func() error {
			_, err := c.StartInstances(t.Context(), &api.StartInstancesInput{InstanceIds: ids})
			return err
		}, "IncorrectInstanceState"},
		{func() error {
			_, err := c.StopInstances(t.Context(), &api.StopInstancesInput{InstanceIds: ids})
			return err
		}, "stopping"},
		{func() error { a.pass(time.Minute); return nil }, "stopped"},
		{func() error {
			_, err := c.StopInstances(t.Context(), &api.StopInstancesInput{InstanceIds: ids})
			return err
		}, "stopped"},
		{func() error {
			_, err := c.StartInstances(t.Context(), &api.StartInstancesInput{InstanceIds: ids})
			return err
		}, "pending"},
		{func() error { a.pass(time.Minute); return nil }, "running"},
		{func() error {
			_, err := c.TerminateInstances(t.Context(), &api.TerminateInstancesInput{InstanceIds: ids})
			return err
		}, "shutting-down"},
		{func() error {
			_, err := c.TerminateInstances(t.Context(), &api.TerminateInstancesInput{InstanceIds: ids})
			return err
		}, "shutting-down"},
		{func() error { a.pass(time.Minute); return nil }, "terminated"},
		{func() error {
			_, err := c.TerminateInstances(t.Context(), &api.TerminateInstancesInput{InstanceIds: ids})
			return err
		}, "terminated"},
		{func() error {
			_, err := c.StartInstances(t.Context(), &api.StartInstancesInput{InstanceIds: ids})
			return err
		}, "IncorrectInstanceState"},
		{func() error { a.pass(2 * time.Hour); return nil }, "InvalidInstanceID.NotFound"},
	}
	for n, step := range steps {
		err := step.do()
		got := a.state(i.InstanceId)
		if err != nil {
			got = code(err)
		}
		if got != step.want {
			t.Fatalf("step %d: %s, want %s", n, got, step.want)
		}
	}
}

func TestAnExitFromInsideTerminates(t *testing.T) {
	a := newAccount(t, ec2.Options{})
	i := a.run(launch("exit"))
	if err := a.Exit(*i.InstanceId); err != nil {
		t.Fatal(err)
	}
	all, err := a.describe(&api.DescribeInstancesInput{InstanceIds: []string{*i.InstanceId}})
	if err != nil || all[0].State.Name != types.InstanceStateNameTerminated || *all[0].StateReason.Code != "Client.InstanceInitiatedShutdown" {
		t.Errorf("after a shutdown from inside: %+v, %v", all, err)
	}
	if len(a.Alive()) != 0 {
		t.Error("it is still counted as alive")
	}
}

func TestFilters(t *testing.T) {
	a := newAccount(t, ec2.Options{})
	one := a.run(launch("one"))
	a.run(launch("two", func(in *api.RunInstancesInput) {
		in.SubnetId = aws.String("subnet-us-west-2b")
		in.InstanceType = "g6.xlarge"
	}))
	a.Put(ec2.Instance{Region: "us-west-2", Tags: map[string]string{"service": "web*"}})
	filter := func(pairs ...string) []types.Filter {
		var all []types.Filter
		for n := 0; n < len(pairs); n += 2 {
			all = append(all, types.Filter{Name: aws.String(pairs[n]), Values: strings.Split(pairs[n+1], ",")})
		}
		return all
	}
	for want, filters := range map[string][][]types.Filter{
		"one":  {filter("client-token", "one"), filter("tag:token", "one"), filter("availability-zone", "us-west-2a", "tag:service", "asr"), filter("instance-id", *one.InstanceId)},
		"two":  {filter("instance-type", "g6.*"), filter("tag:token", "t?o"), filter("subnet-id", "subnet-us-west-2b")},
		"both": {filter("tag:service", "asr"), filter("client-token", "one,two"), filter("tag:token", "*"), filter("instance-state-name", "running,pending", "tag:service", "a*r")},
		"none": {filter("tag:service", "ASR"), filter("tag:other", "*"), filter("client-token", "on"), filter("instance-state-name", "terminated")},
	} {
		for _, f := range filters {
			all, err := a.describe(&api.DescribeInstancesInput{Filters: f})
			var got []string
			for _, i := range all {
				got = append(got, *i.ClientToken)
			}
			if text := map[string]string{"one": "one", "two": "two", "both": "one two", "none": ""}[want]; err != nil || strings.Join(got, " ") != text {
				t.Errorf("%s=%v: %v, %v; want %s", *f[0].Name, f[0].Values, got, err, want)
			}
		}
	}
	_, err := a.describe(&api.DescribeInstancesInput{Filters: filter("colour", "red")})
	wants(t, "an unknown filter", err, "InvalidParameterValue")
}

func TestPages(t *testing.T) {
	a := newAccount(t, ec2.Options{})
	for n := range 12 {
		a.run(launch(fmt.Sprint("page-", n)))
	}
	seen, pages := map[string]bool{}, 0
	p := api.NewDescribeInstancesPaginator(a.client("us-west-2"), &api.DescribeInstancesInput{MaxResults: aws.Int32(5)})
	for p.HasMorePages() {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, r := range out.Reservations {
			seen[*r.Instances[0].InstanceId] = true
		}
	}
	if len(seen) != 12 || pages != 3 {
		t.Errorf("%d instances on %d pages", len(seen), pages)
	}
	_, err := a.describe(&api.DescribeInstancesInput{MaxResults: aws.Int32(4)})
	wants(t, "a page of four", err, "InvalidParameterValue")
	_, err = a.describe(&api.DescribeInstancesInput{NextToken: aws.String("made up")})
	wants(t, "a token made up", err, "InvalidPaginationToken")
	_, err = a.describe(&api.DescribeInstancesInput{MaxResults: aws.Int32(5), InstanceIds: []string{"i-0123456789abcdef0"}})
	wants(t, "a page of ids", err, "InvalidParameterCombination")
}

func TestWhatWasJustMadeCannotBeSeen(t *testing.T) {
	a := newAccount(t, ec2.Options{})
	a.Hide(time.Minute)
	i := a.run(launch("hidden"))
	c, ids := a.client("us-west-2"), []string{*i.InstanceId}
	if got := a.state(i.InstanceId); got != "InvalidInstanceID.NotFound" {
		t.Errorf("described by id: %s", got)
	}
	all, err := a.describe(&api.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("client-token"), Values: []string{"hidden"}}}})
	if err != nil || len(all) != 0 {
		t.Errorf("described by token: %v, %v", all, err)
	}
	_, err = c.TerminateInstances(t.Context(), &api.TerminateInstancesInput{InstanceIds: ids})
	wants(t, "terminate", err, "InvalidInstanceID.NotFound")
	_, err = c.CreateTags(t.Context(), &api.CreateTagsInput{Resources: ids, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	wants(t, "tag", err, "InvalidInstanceID.NotFound")
	if again := a.run(launch("hidden")); *again.InstanceId != *i.InstanceId {
		t.Error("the token has launched a second instance while the first could not be seen")
	}
	if len(a.Alive()) != 1 {
		t.Error("behind the client's back it is not there")
	}
	a.pass(time.Minute)
	if got := a.state(i.InstanceId); got != "running" {
		t.Errorf("later: %s", got)
	}
	_, err = c.CreateTags(t.Context(), &api.CreateTagsInput{Resources: ids, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	wants(t, "tag", err, "")
	all, err = a.describe(&api.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("tag:a"), Values: []string{"b"}}}})
	if err != nil || len(all) != 1 || len(all[0].Tags) != 3 {
		t.Errorf("by its new tag: %+v, %v", all, err)
	}
}

func TestALaunchIsARealProcess(t *testing.T) {
	a := newAccount(t, ec2.Options{Launch: ec2.Program(t.TempDir(), "/bin/sh", "-c", "echo $EC2_INSTANCE boots at {address}; exec sleep 1000")})
	i := a.run(launch("process"))
	c, ids := a.client("us-west-2"), []string{*i.InstanceId}
	console := func() string {
		out, err := c.GetConsoleOutput(t.Context(), &api.GetConsoleOutputInput{InstanceId: i.InstanceId, Latest: aws.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		text, err := base64.StdEncoding.DecodeString(*out.Output)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	want := *i.InstanceId + " boots at " + *i.PrivateIpAddress
	await(t, "the console", func() bool { return strings.Contains(console(), want) })
	if _, err := c.StopInstances(t.Context(), &api.StopInstancesInput{InstanceIds: ids}); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of what runs on it", func() bool { return a.state(i.InstanceId) == "stopped" })
	if _, err := c.StartInstances(t.Context(), &api.StartInstancesInput{InstanceIds: ids}); err != nil {
		t.Fatal(err)
	}
	await(t, "the second boot", func() bool { return strings.Count(console(), want) == 2 })
}

// What switches itself off is stopped, as EC2 does it by default, and can be started again.
func TestAnInstanceThatSwitchesItselfOff(t *testing.T) {
	a := newAccount(t, ec2.Options{Launch: ec2.Program(t.TempDir(), "/bin/sh", "-c", "echo boots; exec true")})
	i := a.run(launch("process"))
	await(t, "its end", func() bool { return a.state(i.InstanceId) == "stopped" })
	all := a.Instances("us-west-2")
	if len(all) != 1 || all[0].Reason != "Client.InstanceInitiatedShutdown" {
		t.Errorf("why: %+v", all)
	}
	if _, err := a.client("us-west-2").StartInstances(t.Context(), &api.StartInstancesInput{InstanceIds: []string{*i.InstanceId}}); err != nil {
		t.Error(err)
	}
	await(t, "its end again", func() bool { return a.state(i.InstanceId) == "stopped" })
}

func TestWhatRunsOnAnInstanceEndsWithIt(t *testing.T) {
	type event struct{ what, id string }
	events := make(chan event, 10)
	a := newAccount(t, ec2.Options{Launch: func(b ec2.Boot) (ec2.Machine, error) {
		events <- event{"on " + b.UserData + b.Tags["service"] + " " + b.Zone, b.ID}
		return ec2.Machine{Stop: func() { events <- event{"off", b.ID} }}, nil
	}})
	one, two := a.run(launch("1")), a.run(launch("2"))
	on := map[string]string{}
	for range 2 {
		e := <-events
		on[e.id] = e.what
	}
	for _, i := range []types.Instance{one, two} {
		if got := on[*i.InstanceId]; got != "on #cloud-config\nasr us-west-2a" {
			t.Errorf("a launch is %q", got)
		}
	}
	if _, err := a.client("us-west-2").TerminateInstances(t.Context(), &api.TerminateInstancesInput{InstanceIds: []string{*one.InstanceId}}); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.what != "off" || e.id != *one.InstanceId {
		t.Errorf("a termination is %+v", e)
	}
	a.Close()
	if e := <-events; e.what != "off" || e.id != *two.InstanceId {
		t.Errorf("the end of the server is %+v", e)
	}
}

func TestALaunchThatFailsEndsWhilePending(t *testing.T) {
	a := newAccount(t, ec2.Options{Boot: time.Hour, Launch: func(ec2.Boot) (ec2.Machine, error) { return ec2.Machine{}, fmt.Errorf("no such kernel") }})
	i := a.run(launch("fails"))
	await(t, "its end", func() bool { return a.state(i.InstanceId) == "terminated" })
	all, err := a.describe(&api.DescribeInstancesInput{InstanceIds: []string{*i.InstanceId}})
	if err != nil || *all[0].StateReason.Code != "Server.InternalError" || !strings.Contains(*all[0].StateReason.Message, "no such kernel") {
		t.Errorf("%+v, %v", all[0].StateReason, err)
	}
}

func TestAnAnswerThatNobodyHears(t *testing.T) {
	release := make(chan struct{})
	for name, c := range map[string]struct {
		fault ec2.Fault
		left  int // instances that the call leaves behind
	}{
		"dropped before":   {ec2.Fault{Drop: true}, 0},
		"dropped after":    {ec2.Fault{Drop: true, Arrives: true}, 1},
		"hanging before":   {ec2.Fault{Hang: true}, 0},
		"hanging after":    {ec2.Fault{Hang: true, Arrives: true}, 1},
		"an error after":   {ec2.Fault{Code: "InternalError", Arrives: true}, 1},
		"an error instead": {ec2.Fault{Code: "InternalError"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t, ec2.Options{})
			c.fault.Action, c.fault.Times = "RunInstances", 1
			a.Inject(c.fault)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if _, err := a.client("us-west-2").RunInstances(ctx, launch("t")); err == nil {
				t.Fatal("there was an answer")
			}
			if got := len(a.Alive()); got != c.left {
				t.Errorf("%d instances are left, want %d", got, c.left)
			}
			a.run(launch("t"))
			if got := len(a.Alive()); got != 1 {
				t.Errorf("after the same call again there are %d", got)
			}
		})
	}
	t.Run("held", func(t *testing.T) {
		a := newAccount(t, ec2.Options{})
		a.Inject(ec2.Fault{Action: "RunInstances", Times: 1, Hold: release})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := a.client("us-west-2").RunInstances(ctx, launch("t")); err == nil {
			t.Fatal("there was an answer")
		}
		if len(a.Alive()) != 0 {
			t.Error("a call that is held has an effect")
		}
		close(release)
		await(t, "the late arrival", func() bool { return len(a.Alive()) == 1 })
	})
}

func TestFaultsStrikeWhereTheyAreMeant(t *testing.T) {
	a := newAccount(t, ec2.Options{})
	a.Inject(ec2.Fault{Zone: "us-west-2a", Code: "InsufficientInstanceCapacity"})
	a.Inject(ec2.Fault{Type: "g6.xlarge", Code: "VcpuLimitExceeded", Times: 1})
	in := func(token, zone, machineType string) *api.RunInstancesInput {
		return launch(token, func(in *api.RunInstancesInput) {
			in.SubnetId, in.InstanceType = aws.String("subnet-us-west-2"+zone), types.InstanceType(machineType)
		})
	}
	c := a.client("us-west-2")
	for _, step := range []struct{ token, zone, machineType, want string }{
		{"1", "a", "g5.xlarge", "InsufficientInstanceCapacity"},
		{"2", "b", "g5.xlarge", ""},
		{"3", "b", "g6.xlarge", "VcpuLimitExceeded"},
		{"3", "b", "g6.xlarge", ""},
		{"1", "a", "g5.xlarge", "InsufficientInstanceCapacity"},
	} {
		_, err := c.RunInstances(t.Context(), in(step.token, step.zone, step.machineType))
		wants(t, fmt.Sprint(step), err, step.want)
	}
	_, err := c.RunInstances(t.Context(), in("1", "a", "m5.large"))
	wants(t, "other parameters after a failure", err, "IdempotentParameterMismatch")
	a.Heal()
	_, err = c.RunInstances(t.Context(), in("1", "a", "g5.xlarge"))
	wants(t, "the same after all is well", err, "")
	var codes []string
	for _, call := range a.Calls("RunInstances") {
		codes = append(codes, call.Zone+" "+call.Code)
	}
	if len(codes) != 7 || codes[0] != "us-west-2a InsufficientInstanceCapacity" || codes[1] != "us-west-2b " {
		t.Errorf("the calls were %q", codes)
	}
}

// await looks until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); {
		if time.Now().After(end) {
			t.Fatalf("%s does not come", what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestStatuses(t *testing.T) {
	a := newAccount(t, ec2.Options{})
	for want, status := range map[string]int{"RequestLimitExceeded": 503, "InsufficientInstanceCapacity": 500, "UnauthorizedOperation": 403, "InvalidParameterValue": 400} {
		a.Inject(ec2.Fault{Code: want, Times: 1})
		_, err := a.describe(&api.DescribeInstancesInput{})
		wants(t, want, err, want)
		var answer interface{ HTTPStatusCode() int }
		if !asStatus(err, &answer) || answer.HTTPStatusCode() != status {
			t.Errorf("%s has status %v, want %d (%s)", want, answer, status, http.StatusText(status))
		}
	}
}
