package s3store_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/jobs"
	"github.com/understudy-dr/understudy/activities/jobs/jobstest"
	"github.com/understudy-dr/understudy/activities/jobs/s3store"
	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

const bucket = "batches"

func TestOnMinIO(t *testing.T) {
	server := harnesstest.MinIO(t, bucket)
	client, err := server.Clients().For(bucket)
	if err != nil {
		t.Fatal(err)
	}
	fixtures := 0
	jobstest.Run(t, func(t *testing.T) jobstest.Fixture {
		fixtures++
		f := at(client, fixtures)
		f.Slow = true
		f.Stop = func() {
			if err := server.Freeze(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		f.Continue = func() { server.Thaw() }
		f.Kill = func() { server.Kill() }
		f.Restart = func() {
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return f
	})
}

func TestInMemory(t *testing.T) {
	client, _ := jobstest.InMemory(t, bucket)
	fixtures := 0
	jobstest.Run(t, func(*testing.T) jobstest.Fixture {
		fixtures++
		return at(client, fixtures)
	})
}

// at is an empty place in the bucket.
func at(client *s3.Client, n int) jobstest.Fixture {
	place := s3client.Location{Bucket: bucket, Key: fmt.Sprint("fun-asr-", n)}
	return jobstest.Fixture{
		Open:    func() jobs.Objects { return s3store.New(client, place) },
		Nowhere: func() jobs.Objects { return s3store.New(client, s3client.Location{Bucket: "nowhere"}) },
	}
}

func TestPlace(t *testing.T) {
	for place, want := range map[s3client.Location]string{{Bucket: "batches", Key: "fun-asr/x"}: "s3://batches/fun-asr/x", {Bucket: "batches"}: "s3://batches"} {
		if got := s3store.New(nil, place).String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
