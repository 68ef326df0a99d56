package harness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// ModelBucket is the bucket of a scene's models, HistoryBucket that of its transcriptions.
	ModelBucket   = "models"
	HistoryBucket = "history"
)

// Cold is what a scene needs for a standby that is made: a store with the
// model, and a place at the load balancer.
type Cold struct {
	MinIO *MinIOServer
	// Port is where the machine's speech server will answer, Admin its admin port.
	Port, Admin int
	// Mount is where the model is mounted, Source where it lives.
	Mount, Source string
	// shared says that the store is not the scene's own.
	shared bool
}

// startCold starts the store, where there is none yet, and puts the model into it.
func startCold(ctx context.Context, o SceneOptions) (*Cold, error) {
	c := &Cold{
		MinIO: o.Store, Port: o.ColdPort, Admin: FreePort(), Mount: filepath.Join(o.Dir, "mnt", "asr"), Source: "s3://" + ModelBucket + "/asr-" + ModelVersion,
		shared: o.Store != nil,
	}
	if c.Port == 0 {
		c.Port = FreePort()
	}
	if c.shared {
		return c, nil
	}
	store := filepath.Join(o.Dir, "store")
	if err := os.MkdirAll(store, 0o755); err != nil {
		return nil, err
	}
	port := o.StorePort
	if port == 0 {
		port = FreePort()
	}
	var err error
	if c.MinIO, err = MinIOAt(ctx, store, port); err != nil {
		return nil, err
	}
	return c, c.MinIO.Stock(ctx)
}

// Stock puts into a store what scenes with a cold tier need there: the model,
// and a bucket for histories.
func (m *MinIOServer) Stock(ctx context.Context) error {
	for _, bucket := range []string{ModelBucket, HistoryBucket} {
		if err := m.CreateBucket(ctx, bucket); err != nil {
			return err
		}
	}
	model, err := BuildModel(ctx, "asr", ModelVersion)
	if err != nil {
		return err
	}
	return m.Upload(ctx, ModelBucket, "asr-"+ModelVersion, model)
}

// Tier is the cold tier as a runbook describes it. Its process keeps no history where history is empty.
func (c *Cold) Tier(program, history string) runbooks.Tier {
	command := []string{program, "asr", "--model", c.Mount, "--listen", Address(c.Port), "--admin", Address(c.Admin)}
	if history != "" {
		command = append(command, "--history", history)
	}
	return runbooks.Tier{
		Name: runbooks.TierCold, Server: "cold", URL: fmt.Sprintf("http://{address}:%d", c.Port), Within: runbooks.Duration(time.Minute),
		Provision: &runbooks.Provision{Kind: "local", Command: command},
		Volumes:   []runbooks.Volume{{Source: c.Source, Mount: c.Mount}},
	}
}

// Upload puts the files of a directory below a prefix of a bucket.
func (m *MinIOServer) Upload(ctx context.Context, bucket, prefix, dir string) error {
	client, err := m.Clients().For(bucket)
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(prefix + "/" + filepath.ToSlash(name)), Body: file})
		return err
	})
}

// SpoiledFile is the file of the model that Spoil changes.
const SpoiledFile = "en-us/mdef"

// Spoil changes one byte of the model in the store.
func (c *Cold) Spoil(ctx context.Context) error {
	client, err := c.MinIO.Clients().For(ModelBucket)
	if err != nil {
		return err
	}
	bucket, key := aws.String(ModelBucket), aws.String("asr-"+ModelVersion+"/"+SpoiledFile)
	object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
	if err != nil {
		return err
	}
	defer object.Body.Close()
	content, err := io.ReadAll(object.Body)
	if err != nil {
		return err
	}
	content[len(content)/2] ^= 1
	_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(content)})
	return err
}
