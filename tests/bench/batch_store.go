package main

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/site/audio"
)

// storeCommand makes this program an object store in memory, whose memory is then not that of what is measured.
const storeCommand = "object-store"

// listBucket is where manifests are put.
const listBucket = "lists"

// serveStore is the program as an object store. Every object of the bucket of
// the audio is there, and is the same recording.
func serveStore(args []string) error {
	flags := flag.NewFlagSet(storeCommand, flag.ContinueOnError)
	address := flags.String("listen", "", "host:port to answer at")
	if err := flags.Parse(args); err != nil {
		return err
	}
	clip := audio.Silence(time.Duration(manySeconds * float64(time.Second))).WAV()
	store := gofakes3.New(s3mem.New(), gofakes3.WithTimeSkewLimit(0)).Server()
	err := http.ListenAndServe(*address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			return
		}
		if strings.HasPrefix(r.URL.Path, "/"+audioBucket+"/") {
			http.ServeContent(w, r, "", time.Unix(0, 0), strings.NewReader(string(clip)))
			return
		}
		store.ServeHTTP(w, r)
	}))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// startStore starts this program once more, as an object store, and says how it is reached.
func startStore(ctx context.Context, dir string) (*harness.Process, runbooks.S3, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, runbooks.S3{}, err
	}
	key := filepath.Join(dir, "store-key")
	if err := os.WriteFile(key, []byte("key\n"), 0o600); err != nil {
		return nil, runbooks.S3{}, err
	}
	address := harness.Address(harness.FreePort())
	process, err := harness.Start(ctx, harness.Spec{
		Name: "object-store", Path: self, Dir: dir, Args: []string{storeCommand, "-listen", address}, Ready: harness.Responding("http://" + address + "/health"),
	})
	secret := runbooks.Secret{File: key}
	return process, runbooks.S3{Endpoint: "http://" + address, Region: "us-east-1", PathStyle: true, AccessKey: secret, SecretKey: secret}, err
}
