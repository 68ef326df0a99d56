package ec2_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/understudy-dr/understudy/tests/ec2"
)

const image = "ami-0123456789abcdef0"

// account is a server with a clock that stands still, and clients for it.
type account struct {
	*ec2.Running
	t  *testing.T
	mu sync.Mutex
	at time.Time
}

func newAccount(t *testing.T, o ec2.Options) *account {
	t.Helper()
	a := &account{t: t, at: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	o.Now = func() time.Time {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.at
	}
	var err error
	if a.Running, err = ec2.Start("127.0.0.1:0", o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// pass lets time go by.
func (a *account) pass(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = a.at.Add(d)
}

// client is the real SDK's, without its retries.
func (a *account) client(region string) *api.Client {
	return a.clientOf(region, ec2.AccessKey, ec2.SecretKey)
}

func (a *account) clientOf(region, key, secret string) *api.Client {
	return api.New(api.Options{
		Region: region, BaseEndpoint: aws.String(a.URL), Retryer: aws.NopRetryer{}, HTTPClient: &http.Client{Transport: ownBody{}},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, nil
		}),
	})
}

// ownBody sends a body that nobody else can close. The SDK closes a request's
// body as soon as the head of the answer is there; where the transport has not
// seen the body's end yet, it drops the connection in the middle of the answer.
type ownBody struct{}

func (ownBody) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	return http.DefaultTransport.RoundTrip(r)
}

// launch is a request for one instance in us-west-2a.
func launch(token string, change ...func(*api.RunInstancesInput)) *api.RunInstancesInput {
	in := &api.RunInstancesInput{
		ImageId: aws.String(image), InstanceType: "g5.xlarge", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		ClientToken: aws.String(token), SubnetId: aws.String("subnet-us-west-2a"),
		UserData:           aws.String(base64.StdEncoding.EncodeToString([]byte("#cloud-config\n"))),
		IamInstanceProfile: &types.IamInstanceProfileSpecification{Name: aws.String("asr-dr")},
		TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeInstance,
			Tags:         []types.Tag{{Key: aws.String("service"), Value: aws.String("asr")}, {Key: aws.String("token"), Value: aws.String(token)}},
		}},
	}
	for _, c := range change {
		c(in)
	}
	return in
}

// run launches and must succeed.
func (a *account) run(in *api.RunInstancesInput) types.Instance {
	a.t.Helper()
	out, err := a.client("us-west-2").RunInstances(a.t.Context(), in)
	if err != nil {
		a.t.Fatal(err)
	}
	if len(out.Instances) != 1 {
		a.t.Fatalf("%d instances were launched", len(out.Instances))
	}
	return out.Instances[0]
}

func (a *account) describe(in *api.DescribeInstancesInput) ([]types.Instance, error) {
	out, err := a.client("us-west-2").DescribeInstances(a.t.Context(), in)
	if err != nil {
		return nil, err
	}
	var all []types.Instance
	for _, r := range out.Reservations {
		all = append(all, r.Instances...)
	}
	return all, nil
}

// state is that of an instance, or the error code that its look-up gives.
func (a *account) state(id *string) string {
	a.t.Helper()
	all, err := a.describe(&api.DescribeInstancesInput{InstanceIds: []string{*id}})
	if err != nil {
		return code(err)
	}
	return string(all[0].State.Name)
}

// code is the error code of EC2's, or empty.
func code(err error) string {
	var told smithy.APIError
	if errors.As(err, &told) {
		return told.ErrorCode()
	}
	return ""
}

// wants checks the error code of a call.
func wants(t *testing.T, what string, err error, want string) {
	t.Helper()
	if code(err) != want || (want != "") != (err != nil) {
		t.Errorf("%s: %v; want code %q", what, err, want)
	}
}
