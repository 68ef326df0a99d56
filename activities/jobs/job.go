package jobs

import (
	"crypto/sha256"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/runbooks"
)

// What a job does whose creator and runbook say nothing.
const (
	DefaultConcurrency  = 4
	DefaultAttempts     = 3
	DefaultChunkSeconds = 540
)

// What to do with a half-done job when the active runs another model revision.
const (
	// FinishOld waits until the revision is active again with which the job began.
	FinishOld = "finish-old"
	// Restart does all items again; the old results stay in the store, outside of the output.
	Restart = "restart"
	// MixAndMark goes on, and each line of the output names its revision.
	MixAndMark = "mix-and-mark"
)

// Job describes a job; once it is created it never changes.
type Job struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Service string `json:"service"`
	// CreatedAt and CreatedBy are for people.
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by,omitempty"`
	// Base is where relative paths of audio begin, and below which all audio lies: an absolute path, or s3://bucket/prefix.
	Base     string   `json:"base"`
	Manifest Manifest `json:"manifest"`
	Params   Params   `json:"params"`
	// Concurrency is how many requests are in flight at once, Attempts after how many an item is quarantined.
	Concurrency int `json:"concurrency"`
	Attempts    int `json:"attempts"`
	// OnModelChange is FinishOld, Restart or MixAndMark.
	OnModelChange string `json:"on_model_change"`
}

// Manifest describes the object with the items.
type Manifest struct {
	// Key is its name beside job.json.
	Key    string `json:"key"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
	Items  int64  `json:"items"`
	// Seconds of audio, as the manifest tells.
	Seconds float64 `json:"seconds"`
}

// Params are what a transcript depends on beside the audio and the model.
type Params struct {
	// Dialect is openai (the default) or funasr; Path replaces its path.
	Dialect  string   `json:"dialect,omitempty"`
	Path     string   `json:"path,omitempty"`
	Model    string   `json:"model,omitempty"`
	Language string   `json:"language,omitempty"`
	Hotwords []string `json:"hotwords,omitempty"`
	// ChunkSeconds is the longest piece of audio that is sent at once.
	ChunkSeconds float64 `json:"chunk_seconds"`
}

// Variant is one way to transcribe a job: a model revision with the job's
// parameters. Results of two variants never have the same key.
type Variant struct {
	ID       string `json:"id"`
	Revision string `json:"revision"`
}

// Apply takes what the job does not say from the runbook.
func (j *Job) Apply(b runbooks.Batches) {
	if j.Concurrency == 0 {
		j.Concurrency = b.Concurrency
	}
	if j.Attempts == 0 {
		j.Attempts = b.Attempts
	}
	if j.Params.ChunkSeconds == 0 {
		j.Params.ChunkSeconds = time.Duration(b.Chunk).Seconds()
	}
	if j.OnModelChange == "" {
		j.OnModelChange = b.OnModelChange
	}
}

// Variant is the job's variant for a revision. Its id is made of everything that a
// transcript depends on, the manifest included, so that a late write of a runner
// that slept through the deletion of the job cannot pass for one of ours.
func (j Job) Variant(revision string) Variant {
	p := j.Params
	text := strings.Join([]string{
		j.Manifest.SHA256, revision, p.Dialect, p.Path, p.Model, p.Language, strings.Join(p.Hotwords, ","),
		strconv.FormatFloat(p.ChunkSeconds, 'f', -1, 64), "",
	}, "\n")
	return Variant{ID: fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:12], Revision: revision}
}

// fill sets what neither its creator nor a runbook has set.
func (j *Job) fill() {
	j.Version = Version
	if j.Concurrency == 0 {
		j.Concurrency = DefaultConcurrency
	}
	if j.Attempts == 0 {
		j.Attempts = DefaultAttempts
	}
	if j.OnModelChange == "" {
		j.OnModelChange = FinishOld
	}
	if j.Params.ChunkSeconds == 0 {
		j.Params.ChunkSeconds = DefaultChunkSeconds
	}
}

// check says what is wrong with a job, the manifest's figures left out.
func (j Job) check() error {
	if err := CheckID(j.ID); err != nil {
		return err
	}
	p := j.Params
	switch {
	case j.Version != Version:
		return invalid("job %s has layout version %d; this program knows %d", j.ID, j.Version, Version)
	case j.Concurrency < 1 || j.Concurrency > 1000:
		return invalid("concurrency %d; use 1 to 1000", j.Concurrency)
	case j.Attempts < 1 || j.Attempts > 100:
		return invalid("attempts %d; use 1 to 100", j.Attempts)
	case math.IsNaN(p.ChunkSeconds) || p.ChunkSeconds < 1 || p.ChunkSeconds > 86400:
		return invalid("chunk of %v s; use 1 s to 24 h", p.ChunkSeconds)
	case j.OnModelChange != FinishOld && j.OnModelChange != Restart && j.OnModelChange != MixAndMark:
		return invalid("on_model_change %q; use finish-old, restart or mix-and-mark", j.OnModelChange)
	case p.Dialect != "" && p.Dialect != "openai" && p.Dialect != "funasr":
		return invalid("dialect %q; use openai or funasr", p.Dialect)
	case p.Path != "" && !strings.HasPrefix(p.Path, "/"):
		return invalid("path %q; it begins with a slash", p.Path)
	}
	return checkBase(j.Base)
}

func checkBase(base string) error {
	rest, inS3 := strings.CutPrefix(base, "s3://")
	switch {
	case inS3 && rest != "" && path.Clean("/"+rest) == "/"+strings.TrimSuffix(rest, "/"):
		return nil
	case !inS3 && strings.HasPrefix(base, "/") && !strings.Contains(base, "\x00"):
		return nil
	}
	return invalid("the base %q; use an absolute path or s3://bucket/prefix", base)
}

// manifestKey is where the manifest is.
func (j Job) manifestKey() string { return j.ID + "/" + j.Manifest.Key }
