package proof_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-dr/understudy/activities/volumes"
	"github.com/understudy-dr/understudy/activities/volumes/proof"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/tests/harness/harnesstest"
)

func sum(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }

type scene struct {
	t     *testing.T
	store *harness.MinIOServer
	file  string
}

func (s *scene) put(name, content string) {
	s.t.Helper()
	client, err := s.store.Clients().For("models")
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := client.PutObject(s.t.Context(), &s3.PutObjectInput{Bucket: aws.String("models"), Key: aws.String("m/" + name), Body: strings.NewReader(content)}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) prove(within time.Duration) (volumes.Proof, error) {
	book := proof.New(proof.Config{Clients: s.store.Clients(), File: s.file}) // another process each time
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	return book.Prove(ctx, runbooks.Volume{Source: "s3://models/m"}, within)
}

// A model is hashed once; from then on only what has changed is read again. A
// changed byte is found, and the mended file is as good as before.
func TestProve(t *testing.T) {
	s := &scene{t: t, store: harnesstest.MinIO(t, "models"), file: filepath.Join(t.TempDir(), "state", "proven.json")}
	s.put("model.pt", "weights")
	s.put("VERSION", "2512.1\n")
	s.put("MANIFEST.sha256", fmt.Sprintf("%s  VERSION\n%s  model.pt\n", sum("2512.1\n"), sum("weights")))
	if p, err := s.prove(-time.Second); err != nil || p.Proven != 0 || p.Bytes != 14 || p.Version != "2512.1" {
		t.Errorf("without time: %+v, %v", p, err)
	}
	if p, err := s.prove(time.Minute); err != nil || p.Proven != p.Bytes || p.Files != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	// What was hashed needs no time.
	if p, err := s.prove(-time.Second); err != nil || p.Proven != p.Bytes {
		t.Errorf("again: %+v, %v", p, err)
	}
	s.put("model.pt", "weightz")
	_, err := s.prove(time.Minute)
	if !errors.Is(err, volumes.ErrWrong) || !strings.Contains(err.Error(), "model.pt") || !strings.Contains(err.Error(), sum("weights")) || !strings.Contains(err.Error(), sum("weightz")) {
		t.Errorf("a flipped byte: %v", err)
	}
	if _, again := s.prove(-time.Second); again == nil || again.Error() != err.Error() {
		t.Errorf("a flipped byte that is known: %v", again)
	}
	s.put("model.pt", "weights")
	if p, err := s.prove(time.Minute); err != nil || p.Proven != p.Bytes {
		t.Errorf("mended: %+v, %v", p, err)
	}
	s.put("more.pt", "x")
	if _, err := s.prove(time.Minute); !errors.Is(err, volumes.ErrWrong) || !strings.Contains(err.Error(), "more.pt") {
		t.Errorf("a file that is in no manifest: %v", err)
	}
}

// A book that a crash has torn is begun anew; one that cannot be read is an error.
func TestABookThatIsTorn(t *testing.T) {
	s := &scene{t: t, store: harnesstest.MinIO(t, "models"), file: filepath.Join(t.TempDir(), "proven.json")}
	s.put("model.pt", "weights")
	s.put("MANIFEST.sha256", sum("weights")+"  model.pt\n")
	if err := os.WriteFile(s.file, []byte(`{"models/m/model.pt": {"eta`), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := s.prove(time.Minute); err != nil || p.Proven != p.Bytes {
		t.Errorf("%+v, %v", p, err)
	}
	if err := os.Remove(s.file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.file, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.prove(time.Minute); err == nil {
		t.Error("a book that is a directory was read")
	}
}

func TestAStoreThatIsAway(t *testing.T) {
	s := &scene{t: t, store: harnesstest.MinIO(t, "models"), file: filepath.Join(t.TempDir(), "proven.json")}
	if _, err := s.prove(time.Minute); !errors.Is(err, volumes.ErrRefused) {
		t.Errorf("an empty bucket: %v", err)
	}
	s.store.Kill()
	if _, err := s.prove(time.Minute); !errors.Is(err, volumes.ErrUnavailable) {
		t.Errorf("a store that is gone: %v", err)
	}
}
