package s3client

import (
	"fmt"
	"regexp"
	"strings"
)

// scheme begins every S3 URL.
const scheme = "s3://"

// maxKey is the most bytes that S3 allows in a key.
const maxKey = 1024

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// Location is a place in a bucket: an object, or the prefix of some.
type Location struct {
	Bucket string
	// Key has no slash at its ends; it is empty for the whole bucket.
	Key string
}

// ParseURL reads s3://bucket/key. As S3's own tools do, it takes the key as it
// is written: nothing in it is percent-decoded, and ? and # are plain characters.
func ParseURL(text string) (Location, error) {
	rest, ok := strings.CutPrefix(text, scheme)
	if !ok {
		return Location{}, fmt.Errorf("%q is no S3 URL; write s3://bucket/prefix", text)
	}
	bucket, key, _ := strings.Cut(rest, "/")
	if !bucketName.MatchString(bucket) {
		return Location{}, fmt.Errorf("%q is no name of a bucket in %q; use lower-case letters, digits, dots and dashes", bucket, text)
	}
	key = strings.Trim(key, "/")
	if len(key) > maxKey {
		return Location{}, fmt.Errorf("the key in s3://%s/%.40s... is longer than %d bytes", bucket, key, maxKey)
	}
	for segment := range strings.SplitSeq(key, "/") {
		// Stores and proxies resolve or refuse these, each in its own way.
		if segment == "." || segment == ".." || (segment == "" && key != "") {
			return Location{}, fmt.Errorf("%q has an empty part, . or .. in its key", text)
		}
	}
	return Location{Bucket: bucket, Key: key}, nil
}

// Join is the location of name below this one.
func (l Location) Join(name string) Location {
	if l.Key == "" {
		return Location{Bucket: l.Bucket, Key: name}
	}
	return Location{Bucket: l.Bucket, Key: l.Key + "/" + name}
}

func (l Location) String() string {
	if l.Key == "" {
		return scheme + l.Bucket
	}
	return scheme + l.Bucket + "/" + l.Key
}
