package harness

import (
	"context"
	"errors"
	"fmt"
	"go/build"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/understudy-dr/understudy/activities/s3client"
	"github.com/understudy-dr/understudy/runbooks"
)

const (
	// MinIOVersion is the version that the tests were written against.
	MinIOVersion = "v0.0.0-20260212201848-7aac2a2c5b7c"
	// MinIOVariable names the environment variable that may hold the path of the minio program.
	MinIOVariable = "UNDERSTUDY_MINIO"

	minioAccessKey = "understudy"
	minioSecretKey = "understudy-secret"
)

// MinIOServer is a running MinIO. Signal, Kill and Stop come from its process.
type MinIOServer struct {
	*Process
	// Endpoint is the URL of the server.
	Endpoint string
	// AccessKey and SecretKey are the files that hold the credentials, as a site file refers to them.
	AccessKey runbooks.Secret
	SecretKey runbooks.Secret
}

// MinIO starts a MinIO that keeps its data in dir.
func MinIO(ctx context.Context, dir string) (*MinIOServer, error) {
	return MinIOAt(ctx, dir, FreePort())
}

// MinIOAt is MinIO at a port.
func MinIOAt(ctx context.Context, dir string, port int) (*MinIOServer, error) {
	path, err := FindMinIO()
	if err != nil {
		return nil, err
	}
	m := &MinIOServer{
		AccessKey: runbooks.Secret{File: filepath.Join(dir, "access-key")},
		SecretKey: runbooks.Secret{File: filepath.Join(dir, "secret-key")},
	}
	for file, content := range map[string]string{m.AccessKey.File: minioAccessKey, m.SecretKey.File: minioSecretKey} {
		if err := os.WriteFile(file, []byte(content+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("start minio: %w", err)
		}
	}
	address := Address(port)
	m.Endpoint = "http://" + address
	m.Process, err = Start(ctx, Spec{
		Name: "minio",
		Path: path,
		Args: []string{"server", "--address", address, "--console-address", Address(FreePort()),
			"--certs-dir", filepath.Join(dir, "certs"), filepath.Join(dir, "data")},
		Env: []string{"MINIO_ROOT_USER=" + minioAccessKey, "MINIO_ROOT_PASSWORD=" + minioSecretKey,
			"MINIO_BROWSER=off", "MINIO_UPDATE=off"},
		Dir:   dir,
		Ready: Responding(m.Endpoint + "/minio/health/ready"),
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Restart starts the server again after Kill or Stop, with the same data, at
// the same address.
func (m *MinIOServer) Restart(ctx context.Context) error {
	process, err := Start(ctx, m.Spec)
	if err != nil {
		return err
	}
	m.Process = process
	return nil
}

// Site is the server as the site file describes it.
func (m *MinIOServer) Site() runbooks.S3 {
	return runbooks.S3{Endpoint: m.Endpoint, Region: "us-east-1", PathStyle: true, AccessKey: m.AccessKey, SecretKey: m.SecretKey}
}

// Clients are S3 clients that find every bucket at this server.
func (m *MinIOServer) Clients() *s3client.Clients {
	return s3client.New(map[string]runbooks.S3{"default": m.Site()})
}

// CreateBucket makes a bucket; one that is there already is fine.
func (m *MinIOServer) CreateBucket(ctx context.Context, name string) error {
	client, err := m.Clients().For(name)
	if err != nil {
		return err
	}
	_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(name)})
	if owned := (*types.BucketAlreadyOwnedByYou)(nil); err != nil && !errors.As(err, &owned) {
		return fmt.Errorf("create bucket %s: %w", name, err)
	}
	return nil
}

// FindMinIO looks for the program where people keep programs and where go
// install puts them; the error says how to get it.
func FindMinIO() (string, error) {
	if path := os.Getenv(MinIOVariable); path != "" {
		return path, nil
	}
	if path, err := exec.LookPath("minio"); err == nil {
		return path, nil
	}
	dirs := []string{os.Getenv("GOBIN")}
	for _, root := range filepath.SplitList(build.Default.GOPATH) {
		dirs = append(dirs, filepath.Join(root, "bin"))
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, "minio")
		if info, err := os.Stat(path); dir != "" && err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("minio is not installed: go install github.com/minio/minio@%s, or name it in %s", MinIOVersion, MinIOVariable)
}
