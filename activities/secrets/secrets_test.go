package secrets_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-dr/understudy/activities/secrets"
	"github.com/understudy-dr/understudy/runbooks"
)

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) runbooks.Secret {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return runbooks.Secret{File: path}
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("UNDERSTUDY_TEST_SECRET", "from-env\n")
	t.Setenv("UNDERSTUDY_TEST_EMPTY", "")
	for _, test := range []struct {
		name, want string
		ref        runbooks.Secret
	}{
		{name: "file", ref: file("plain", "s3cret"), want: "s3cret"},
		{name: "final newline", ref: file("newline", "s3cret\n"), want: "s3cret"},
		{name: "windows newline", ref: file("crlf", "s3cret\r\n"), want: "s3cret"},
		{name: "only one newline", ref: file("two", "s3cret\n\n"), want: "s3cret\n"},
		{name: "only the end", ref: file("spaces", " s3 cret "), want: " s3 cret "},
		{name: "lone carriage return", ref: file("cr", "s3cret\r"), want: "s3cret\r"},
		{name: "environment as it is", ref: runbooks.Secret{Env: "UNDERSTUDY_TEST_SECRET"}, want: "from-env\n"},
		{name: "biggest", ref: file("max", strings.Repeat("x", secrets.MaxSize)), want: strings.Repeat("x", secrets.MaxSize)},
		{name: "no reference"},
		{name: "no file", ref: runbooks.Secret{File: filepath.Join(dir, "absent")}},
		{name: "empty file", ref: file("empty", "")},
		{name: "only a newline", ref: file("nl", "\n")},
		{name: "directory", ref: runbooks.Secret{File: dir}},
		{name: "pipe", ref: runbooks.Secret{File: pipe}},
		{name: "too big", ref: file("big", strings.Repeat("x", secrets.MaxSize+1))},
		{name: "unset variable", ref: runbooks.Secret{Env: "UNDERSTUDY_TEST_ABSENT"}},
		{name: "empty variable", ref: runbooks.Secret{Env: "UNDERSTUDY_TEST_EMPTY"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := secrets.Resolve(test.ref)
			if test.want != "" {
				if err != nil || got != test.want {
					t.Fatalf("got %q, %v", got, err)
				}
				return
			}
			if !errors.Is(err, secrets.ErrUnresolved) || got != "" {
				t.Fatalf("got %q, %v; want ErrUnresolved", got, err)
			}
			if !strings.Contains(err.Error(), test.ref.String()) {
				t.Errorf("the error does not name the reference: %v", err)
			}
			if strings.Contains(err.Error(), "xxx") {
				t.Error("the error tells the content")
			}
		})
	}
}

func TestConcern(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	ref := runbooks.Secret{File: path}
	if got := secrets.Concern(ref); got != "" {
		t.Errorf("mode 0600: %q", got)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := secrets.Concern(ref); !strings.Contains(got, path) {
		t.Errorf("mode 0644: %q", got)
	}
	if got := secrets.Concern(runbooks.Secret{Env: "HOME"}); got != "" {
		t.Errorf("environment: %q", got)
	}
}
