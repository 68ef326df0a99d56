package awsclient_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-dr/understudy/activities/awsclient"
	"github.com/understudy-dr/understudy/runbooks"
)

func write(t *testing.T, file, text string) runbooks.Secret {
	t.Helper()
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return runbooks.Secret{File: file}
}

func TestCredentialsAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	site := runbooks.AWS{
		AccessKey: write(t, filepath.Join(dir, "id"), "one"), SecretKey: write(t, filepath.Join(dir, "secret"), "s"), SessionToken: write(t, filepath.Join(dir, "token"), "t"),
		Endpoints: map[string]string{"ec2": "https://vpce.ec2.{region}.example.com"},
	}
	a := awsclient.New(site)
	key := func() (string, int) {
		c, generation, err := a.Config(t.Context(), "ec2", "us-west-2")
		if err != nil {
			t.Fatal(err)
		}
		if *c.BaseEndpoint != "https://vpce.ec2.us-west-2.example.com" || c.Region != "us-west-2" {
			t.Errorf("endpoint %s, region %s", *c.BaseEndpoint, c.Region)
		}
		keys, err := c.Credentials.Retrieve(t.Context())
		if err != nil || keys.SessionToken != "t" {
			t.Fatal(keys, err)
		}
		return keys.AccessKeyID, generation
	}
	first, generation := key()
	write(t, site.AccessKey.File, "two")
	if again, _ := key(); first != "one" || again != "one" {
		t.Errorf("before a reload the keys are %s and %s", first, again)
	}
	a.Reload(generation)
	a.Reload(generation) // somebody else failed with the same ones
	second, after := key()
	if second != "two" || after != generation+1 {
		t.Errorf("after a reload the key is %s, of generation %d", second, after)
	}
	if err := os.Remove(site.SecretKey.File); err != nil {
		t.Fatal(err)
	}
	a.Reload(after)
	if _, _, err := a.Config(t.Context(), "ec2", "us-west-2"); !errors.Is(err, awsclient.ErrCredentials) {
		t.Errorf("without a secret: %v", err)
	}
}

func TestWhatCannotBeLoaded(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	a := awsclient.New(runbooks.AWS{Profile: "nobody"})
	if _, _, err := a.Config(t.Context(), "route53", ""); !errors.Is(err, awsclient.ErrCredentials) {
		t.Errorf("a profile that is not there: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	c, _, err := awsclient.New(runbooks.AWS{}).Config(t.Context(), "route53", "")
	if err != nil || c.Region == "" || c.BaseEndpoint != nil {
		t.Errorf("from the environment: %+v, %v", c, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	if _, _, err := awsclient.New(runbooks.AWS{}).Config(ctx, "ec2", "us-west-2"); err == nil {
		t.Error("without time and credentials there is a configuration")
	}
}
