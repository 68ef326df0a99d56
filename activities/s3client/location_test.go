package s3client_test

import (
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/activities/s3client"
)

func TestParseURL(t *testing.T) {
	for text, want := range map[string]s3client.Location{
		"s3://bucket":                {Bucket: "bucket"},
		"s3://bucket/":               {Bucket: "bucket"},
		"s3://my.bucket-1/a/b.wav":   {Bucket: "my.bucket-1", Key: "a/b.wav"},
		"s3://bucket/prefix/":        {Bucket: "bucket", Key: "prefix"},
		"s3://bucket/a%20b?c#d e/语音": {Bucket: "bucket", Key: "a%20b?c#d e/语音"},
	} {
		if got, err := s3client.ParseURL(text); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "bucket/key", "http://bucket/key", "S3://bucket", "s3://", "s3:///key", "s3://Bucket/key", "s3://ab", "s3://user:pw@bucket/k",
		"s3://bucket:9000/k", "s3://buc ket", "s3://bucket/../other/key", "s3://bucket/a/./b", "s3://bucket/a//b", "s3://bucket/" + strings.Repeat("k", 1025),
	} {
		if got, err := s3client.ParseURL(text); err == nil {
			t.Errorf("%q became %+v", text, got)
		}
	}
}

func TestJoin(t *testing.T) {
	whole, below := s3client.Location{Bucket: "b"}, s3client.Location{Bucket: "b", Key: "p/q"}
	if got := whole.Join("x/y").String(); got != "s3://b/x/y" {
		t.Error(got)
	}
	if got := below.Join("x").String(); got != "s3://b/p/q/x" {
		t.Error(got)
	}
	if got := whole.String(); got != "s3://b" {
		t.Error(got)
	}
}
